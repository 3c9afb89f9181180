"""The worker: from a reference to streamed results."""
