"""Keys that sign models: ECDSA on P-256, P-384 or P-521, as other tools for model signing have them, or Ed25519."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modelzoo.errors import FailedPrecondition, InvalidArgument

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["PublicKey", "SigningKey", "new_key", "write_new"]

CURVES = ("secp256r1", "secp384r1", "secp521r1")
PEM_BYTES_MAX = 16 * 1024


class PublicKey:
    """Verifies signatures."""

    def __init__(self, key: "EllipticCurvePublicKey | Ed25519PublicKey") -> None:
        self._key = key

    @classmethod
    def from_pem(cls, pem: bytes | str) -> "PublicKey":
        """The key in the text. Raises SIGNING_KEY_INVALID."""
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        return cls(_checked(_load(lambda: load_pem_public_key(_bytes(pem))), is_private=False))

    @classmethod
    def load(cls, path: Path) -> "PublicKey":
        """The public key in the file, or the one that goes with the private key there."""
        pem = _read(path)
        return SigningKey.from_pem(pem).public_key if b"PRIVATE KEY" in pem else cls.from_pem(pem)

    @property
    def key_id(self) -> str:
        """SHA-256 of the key's DER form (SubjectPublicKeyInfo), in hexadecimal digits."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return hashlib.sha256(self._key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

    @property
    def pem(self) -> str:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def save(self, path: Path) -> None:
        """Write the key to a new file. Raises LOCAL_PATH_INVALID."""
        write_new(path, self.pem.encode(), 0o644)

    @property
    def hint(self) -> str:
        """What bundles name the key by: SHA-256 of the PEM form."""
        return hashlib.sha256(self.pem.encode()).hexdigest()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the holder of the private key signed the message so."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec

        try:
            if isinstance(self._key, ec.EllipticCurvePublicKey):
                self._key.verify(signature, message, ec.ECDSA(_hash_for(self._key.curve.key_size)))
            else:
                self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """Makes signatures."""

    def __init__(self, key: "EllipticCurvePrivateKey | Ed25519PrivateKey") -> None:
        self._key = key

    @classmethod
    def from_pem(cls, pem: bytes, password: str | None = None) -> "SigningKey":
        """The private key in the text. Raises SIGNING_KEY_INVALID."""
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        secret = None if password is None else password.encode()
        return cls(_checked(_load(lambda: load_pem_private_key(pem, secret)), is_private=True))

    @classmethod
    def load(cls, path: Path, password: str | None = None) -> "SigningKey":
        """The private key in the file. Raises SIGNING_KEY_INVALID, LOCAL_PATH_INVALID."""
        return cls.from_pem(_read(path), password)

    @property
    def public_key(self) -> PublicKey:
        return PublicKey(self._key.public_key())

    def sign(self, message: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric import ec

        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(message, ec.ECDSA(_hash_for(self._key.curve.key_size)))
        return self._key.sign(message)

    def save(self, path: Path) -> None:
        """Write the key to a new file that only its owner can read. Raises LOCAL_PATH_INVALID."""
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_new(path, pem, 0o600)


def new_key() -> SigningKey:
    """A new key on P-256, which every tool for model signing knows."""
    _need_cryptography()
    from cryptography.hazmat.primitives.asymmetric import ec

    return SigningKey(ec.generate_private_key(ec.SECP256R1()))


def _checked(key: Any, *, is_private: bool) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    elliptic = ec.EllipticCurvePrivateKey if is_private else ec.EllipticCurvePublicKey
    edwards = ed25519.Ed25519PrivateKey if is_private else ed25519.Ed25519PublicKey
    if isinstance(key, edwards) or (isinstance(key, elliptic) and cast(Any, key).curve.name in CURVES):
        return key
    raise _key_invalid("it is of another kind")


def _load(load: Any) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return load()
    except TypeError as error:  # a password is missing, or there is none to give
        raise _key_invalid(str(error)) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _key_invalid("it cannot be read") from error


def _hash_for(key_bits: int) -> Any:
    from cryptography.hazmat.primitives import hashes

    return {256: hashes.SHA256, 384: hashes.SHA384, 521: hashes.SHA512}[key_bits]()


def _bytes(pem: bytes | str) -> bytes:
    _need_cryptography()
    return pem.encode() if isinstance(pem, str) else pem


def _read(path: Path) -> bytes:
    _need_cryptography()
    try:
        with path.open("rb") as file:
            return file.read(PEM_BYTES_MAX)
    except OSError as error:
        raise _path_invalid(path, f"cannot be read: {error.strerror}") from error


def write_new(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file that is not there yet: never over a key. Raises LOCAL_PATH_INVALID."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
    except OSError as error:
        raise _path_invalid(path, f"cannot be written: {error.strerror}") from error


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            "PACKAGE_MISSING", "Signing needs cryptography: pip install 'modelzoo[signing]'."
        ) from error


def _path_invalid(path: Path, fault: str) -> InvalidArgument:
    return InvalidArgument("LOCAL_PATH_INVALID", f"{str(path)!a} {fault}.", metadata={"path": ascii(str(path))})


def _key_invalid(fault: str) -> InvalidArgument:
    return InvalidArgument(
        "SIGNING_KEY_INVALID",
        f"This is no key to sign models with: {fault}. It takes PEM of ECDSA on P-256, P-384 or P-521, or of Ed25519; "
        "`zoo sign --new-key FILE` makes one.",
    )
