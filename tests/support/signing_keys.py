"""Keys of the kinds that `modelzoo.signing` does not make itself."""

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from modelzoo.signing.keys import SigningKey

__all__ = ["ed25519_key", "rsa_public_pem"]


def ed25519_key() -> SigningKey:
    return SigningKey(ed25519.Ed25519PrivateKey.generate())


def rsa_public_pem() -> str:
    """Of a kind that is not taken."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
