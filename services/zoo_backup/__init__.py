"""Backups of a whole zoo, and what brings them back: an operator's tool beside the services, with their settings."""
