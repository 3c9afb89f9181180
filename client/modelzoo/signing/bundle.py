"""A signature as it is kept: a DSSE envelope around the statement, in a Sigstore bundle (JSON).

Envelope: github.com/secure-systems-lab/dsse v1; bundle: media type `application/vnd.dev.sigstore.bundle.v0.3+json` with
a public key's hint and without entries of a transparency log, as model signing with a key has it.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from modelzoo.manifest import Manifest
from modelzoo.signing.keys import PublicKey, SigningKey
from modelzoo.signing.statement import PAYLOAD_TYPE, invalid, signed_files, statement_of

__all__ = ["BUNDLE_BYTES_MAX", "Bundle", "sha256_of", "sign"]

BUNDLE_BYTES_MAX = 2 * 1024 * 1024
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
NAMED_MAX = 3


@dataclass(frozen=True, slots=True)
class Bundle:
    """`hint` is what the bundle says about the key; it proves nothing. It may be ''."""

    payload: bytes
    signature: bytes
    hint: str

    @classmethod
    def from_bytes(cls, data: bytes) -> "Bundle":
        """Raises SIGNATURE_INVALID for what is no such bundle."""
        if len(data) > BUNDLE_BYTES_MAX:
            raise invalid(f"it has {len(data)} bytes; at most {BUNDLE_BYTES_MAX} are taken")
        try:
            return _read(cast(dict[str, Any], json.loads(data)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error) as error:
            raise invalid("it is no Sigstore bundle of one DSSE envelope, version 0.3") from error

    def check(self, files: Mapping[str, str], key: PublicKey) -> None:
        """Return if the holder of `key` signed just these files (SHA-256 by path); else SIGNATURE_INVALID says why."""
        if self.hint and self.hint != key.hint:
            raise invalid("it was made with another key")
        if not key.verifies(self.signature, _pre_authentication(self.payload)):
            raise invalid("it was made with another key, or changed since")
        signed = signed_files(self.payload)
        wrong = sorted(path for path in signed.keys() | files.keys() if signed.get(path) != files.get(path))
        if wrong:
            named = ", ".join(ascii(path[:80]) for path in wrong[:NAMED_MAX]) + (
                ", ..." if len(wrong) > NAMED_MAX else ""
            )
            raise invalid(f"it is of other files: {named}")


def sign(name: str, files: Mapping[str, str], key: SigningKey) -> bytes:
    """The bundle in which the holder of `key` vouches for these files (SHA-256 by path). `name` is for people.

    Raises SIGNATURE_INVALID where it would be too large to be taken.
    """
    payload = statement_of(name, files)
    signature = key.sign(_pre_authentication(payload))
    bundle: dict[str, Any] = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": key.public_key.hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    data = json.dumps(bundle).encode()
    if len(data) > BUNDLE_BYTES_MAX:
        raise invalid(f"there are too many files: it would have {len(data)} bytes, over {BUNDLE_BYTES_MAX}")
    return data


def sha256_of(manifest: Manifest) -> dict[str, str]:
    """SHA-256 by path of a manifest's files: what a signature of the version is about."""
    return {file.path: file.sha256 for file in manifest.files}


def _read(bundle: dict[str, Any]) -> Bundle:
    envelope: dict[str, Any] = bundle["dsseEnvelope"]
    signatures: list[dict[str, Any]] = envelope["signatures"]
    if bundle["mediaType"] != MEDIA_TYPE or envelope["payloadType"] != PAYLOAD_TYPE or len(signatures) != 1:
        raise invalid("it is no Sigstore bundle of one DSSE envelope, version 0.3")
    material: dict[str, Any] = bundle["verificationMaterial"]
    named = cast(dict[str, Any], material.get("publicKey") or {})
    return Bundle(
        payload=base64.b64decode(envelope["payload"], validate=True),
        signature=base64.b64decode(signatures[0]["sig"], validate=True),
        hint=str(named.get("hint") or ""),
    )


def _pre_authentication(payload: bytes) -> bytes:
    """PAE of the DSSE protocol: what is signed is bound to its type."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
