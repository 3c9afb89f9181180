"""What models do, by task: inputs prepared, batches computed, outputs made into plain results. On any machine."""
