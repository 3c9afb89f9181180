"""Foreign checkpoints into directories in transformers' form."""
