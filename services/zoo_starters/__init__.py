"""Makes the starter models from pinned packages and publishes them."""
