"""The artifact service: blobs, manifests, pins, and reading files from them."""
