"""The gateway's deciding half: picker, identity, endpoints, reflection. Envoy carries the bytes."""
