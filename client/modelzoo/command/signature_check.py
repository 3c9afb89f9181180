"""What `zoo verify` finds out."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from modelzoo.command.bars import progress_bar

if TYPE_CHECKING:
    from modelzoo.client import Client
    from modelzoo.signatures import Signature
    from modelzoo.signing.keys import PublicKey

__all__ = ["KEY_ID_SHOWN", "Verdict", "check_directory", "check_version", "read_bundle"]

HOLDS = "holds"
KEY_ID_SHOWN = 16


@dataclass(frozen=True, slots=True)
class Verdict:
    """`signer` is what the namespace calls the key, or `-`; `says` is `holds` or what is wrong."""

    signer: str
    key_id: str
    files: int
    says: str


def check_version(client: "Client", ref: str, public_key: Path | None) -> list[Verdict]:
    """A verdict for each signature by the key, or by a key that the namespace trusts.

    Raises SIGNATURE_NOT_FOUND where there is none, SIGNATURE_INVALID where none holds.
    """
    from modelzoo.errors import FailedPrecondition, NotFound
    from modelzoo.reference import parse
    from modelzoo.signing.bundle import sha256_of
    from modelzoo.signing.keys import PublicKey

    version = client.version(ref)
    if public_key is not None:
        key = PublicKey.load(public_key)
        trusted = {key.key_id: ("-", key)}
    else:
        policy = client.signatures.policy(parse(version.model).namespace)
        trusted = {each.key_id: (each.name, PublicKey.from_pem(each.public_key)) for each in policy.signers}
    signatures = client.signatures.list(version.reference)
    found = [each for each in signatures if each.key_id in trusted]
    if not found:
        raise NotFound(
            "SIGNATURE_NOT_FOUND", _nothing_found(version.reference, signatures, with_key=public_key is not None)
        )
    files = sha256_of(client.manifest(version.reference))
    verdicts = [_verdict(each, files, *trusted[each.key_id]) for each in found]
    if all(verdict.says != HOLDS for verdict in verdicts):
        raise FailedPrecondition("SIGNATURE_INVALID", f"No signature of {version.reference} holds. {verdicts[0].says}")
    return verdicts


def check_directory(root: Path, signature: Path, public_key: Path | None) -> Verdict:
    """The verdict on the directory's files. Raises SIGNATURE_INVALID where the signature does not hold."""
    from modelzoo.signing.bundle import Bundle
    from modelzoo.signing.directory import sha256_of_directory
    from modelzoo.signing.keys import PublicKey

    if public_key is None:
        raise typer.BadParameter("give the signer's public key to verify a directory.", param_hint="--public-key")
    key = PublicKey.load(public_key)
    bundle = Bundle.from_bytes(read_bundle(signature))
    # A signature cannot list itself, and often lies in the directory.
    inside = signature.resolve().is_relative_to(root.resolve())
    left_out = {signature.resolve().relative_to(root.resolve()).as_posix()} if inside else set[str]()
    with progress_bar(f"verifying {root}") as progress:
        files = sha256_of_directory(root, left_out, progress)
    bundle.check(files, key)
    return Verdict("-", key.key_id, len(files), HOLDS)


def read_bundle(path: Path) -> bytes:
    """What the file holds. Raises LOCAL_PATH_INVALID."""
    from modelzoo.errors import InvalidArgument
    from modelzoo.signing.bundle import BUNDLE_BYTES_MAX

    try:
        with path.open("rb") as file:
            return file.read(BUNDLE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidArgument("LOCAL_PATH_INVALID", f"{str(path)!a} cannot be read: {error.strerror}.") from error


def _nothing_found(reference: str, signatures: "list[Signature]", *, with_key: bool) -> str:
    by = ", ".join(each.key_id[:KEY_ID_SHOWN] for each in signatures)
    if not by:
        return f"{reference} has no signature: `zoo sign` makes one."
    if with_key:
        return f"{reference} is signed by {by}, and not with this key: `zoo sign` signs it, too."
    return (
        f"{reference} is signed by {by}, whom its namespace does not trust: an admin of it trusts a key with `zoo "
        "signers trust NAMESPACE NAME PUBLIC_KEY`, and --public-key verifies with one that you trust."
    )


def _verdict(signature: "Signature", files: dict[str, str], name: str, key: "PublicKey") -> Verdict:
    from modelzoo.errors import FailedPrecondition
    from modelzoo.signing.bundle import Bundle

    try:
        # With the key that is trusted here, not the one that came with the signature.
        Bundle.from_bytes(signature.bundle).check(files, key)
    except FailedPrecondition as error:
        return Verdict(name, key.key_id, len(files), error.message)
    return Verdict(name, key.key_id, len(files), HOLDS)
