"""Mechanisms under the services: blobs, SQL engines with ordered append, presence. Knows no stubs."""
