"""Signatures of a version's files in the format of OpenSSF Model Signing 1.0, made and verified from a manifest.

`cryptography` is needed for it: the extra `signing`.
"""
