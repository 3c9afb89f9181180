"""Architectures of our own in transformers' form, beside those that transformers has."""
