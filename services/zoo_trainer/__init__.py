"""The trainer: an agent that leases jobs, and the child process that trains."""
