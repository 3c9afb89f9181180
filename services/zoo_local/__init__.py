"""The whole cluster on one machine, every service its own process."""
