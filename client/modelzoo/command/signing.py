"""`zoo sign` and `zoo verify`: who vouches for a version's files."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.session import open_client
from modelzoo.command.signature_check import KEY_ID_SHOWN, Verdict, check_directory, check_version
from modelzoo.command.terminal import answer, line, note, print_table

if TYPE_CHECKING:
    from modelzoo.client import Client
    from modelzoo.signatures import Signature
    from modelzoo.signing.keys import SigningKey

__all__ = ["register"]

SIGN_EXAMPLES = """Examples:

\b
  zoo sign --new-key release.pem
  zoo sign acme/chat@3 --key release.pem
  zoo sign acme/chat@3 --key release.pem --out model.sig
  zoo sign acme/chat@3 --signature model.sig --public-key release.pub"""
VERIFY_EXAMPLES = """Examples:

\b
  zoo verify acme/chat@3
  zoo verify acme/chat@3 --public-key release.pub
  zoo verify ./chat --signature model.sig --public-key release.pub"""
PASSWORD = "ZOO_SIGNING_PASSWORD"  # noqa: S105 - the variable's name

PublicKeyOption = Annotated[
    Path | None, typer.Option("--public-key", metavar="PEM", help="The signer's public key, or the private one.")
]
SignatureOption = Annotated[Path | None, typer.Option("--signature", metavar="FILE", help="A signature in a file.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("sign", epilog=SIGN_EXAMPLES)(sign)
    app.command("verify", epilog=VERIFY_EXAMPLES)(verify)


def sign(
    ref: Annotated[str, typer.Argument(metavar="[REF]", help="The version: NAMESPACE/NAME@VERSION, or an alias.")] = "",
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="PEM",
            help=f"The private key that signs; ${PASSWORD} opens an encrypted one. It is not the zoo's key, which goes "
            "before the command's name or into $ZOO_KEY.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the signature to this file, too.")] = None,
    new_key: Annotated[
        Path | None, typer.Option("--new-key", metavar="PEM", help="Make a key (ECDSA P-256) in this new file first.")
    ] = None,
    signature: SignatureOption = None,
    public_key: PublicKeyOption = None,
) -> None:
    """Vouch for a version's files with a key of yours, or make such a key.

    The signature lists every file with its SHA-256, in the format of OpenSSF Model Signing: other tools verify it on a
    pulled directory, and one that they made is stored with --signature. Nothing is downloaded. A private key never
    leaves this machine; give its public key (written beside a new one, as .pub) to an admin of the namespace, who
    trusts it with `zoo signers trust`.
    """
    if new_key is not None:
        _make_key(new_key)
        key = key or new_key
    if not ref:
        if new_key is None:
            raise typer.BadParameter("name a version, or make a key with --new-key FILE.", param_hint="REF")
        answer({"key": new_key, "public_key": _public_path(new_key)}, lambda: None)
        return
    with open_client() as client:
        stored = _stored(client, ref, signature, public_key) if signature else _signed(client, ref, key, out)
    shown = {"reference": stored.reference, "key_id": stored.key_id, "trusted_as": stored.trusted_as}
    answer(shown, lambda: line(f"{stored.reference}  signed by {stored.trusted_as or stored.key_id}"))
    if not stored.trusted_as:
        note("no admin of the namespace trusts this key yet: `zoo signers trust NAMESPACE NAME PUBLIC_KEY`")


def verify(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A version, or with --signature a directory.")],
    public_key: PublicKeyOption = None,
    signature: SignatureOption = None,
) -> None:
    """Check who vouches for a version's files, or for the files in a directory.

    The signatures are verified on this machine: of a version against its manifest, whose digests every pull checks; of
    a directory by reading its files. Without --public-key the keys are those that the namespace trusts. Exit code 6
    where no signature holds.
    """
    if signature is not None:
        verdicts = [check_directory(Path(target), signature, public_key)]
    elif target.startswith((".", "/", "~")):
        raise typer.BadParameter(
            "a directory is verified with --signature FILE and --public-key PEM; a version is NAMESPACE/NAME@VERSION.",
            param_hint="TARGET",
        )
    else:
        with open_client() as client:
            verdicts = check_version(client, target, public_key)
    value = {"target": target, "signatures": verdicts}
    answer(value, lambda: _print(verdicts))


def _make_key(path: Path) -> None:
    from modelzoo.signing.keys import new_key

    made = new_key()
    made.save(path)
    made.public_key.save(_public_path(path))
    note(f"{path} signs: keep it to yourself (only you can read it). {_public_path(path)} is for everybody.")


def _public_path(path: Path) -> Path:
    return path.with_suffix(".pub")


class _Stored:
    """A signature where it is now."""

    def __init__(self, reference: str, signature: "Signature") -> None:
        self.reference = reference
        self.key_id = signature.key_id
        self.trusted_as = signature.trusted_as


def _signed(client: "Client", ref: str, key: Path | None, out: Path | None) -> _Stored:
    from modelzoo.signing.bundle import sha256_of
    from modelzoo.signing.bundle import sign as make
    from modelzoo.signing.keys import write_new

    if key is None:
        raise typer.BadParameter("give the private key; `zoo sign --new-key FILE` makes one.", param_hint="--key")
    secret = _load(key)
    # Resolved once: an alias could move between the steps.
    version = client.version(ref)
    bundle = make(version.reference, sha256_of(client.manifest(version.reference)), secret)
    if out is not None:
        write_new(out, bundle)
    return _Stored(version.reference, client.signatures.add(version.reference, bundle, secret.public_key.pem))


def _stored(client: "Client", ref: str, signature: Path, public_key: Path | None) -> _Stored:
    from modelzoo.command.signature_check import read_bundle
    from modelzoo.signing.keys import PublicKey

    if public_key is None:
        raise typer.BadParameter("give the signer's public key beside --signature.", param_hint="--public-key")
    version = client.version(ref)
    added = client.signatures.add(version.reference, read_bundle(signature), PublicKey.load(public_key).pem)
    return _Stored(version.reference, added)


def _load(key: Path) -> "SigningKey":
    from modelzoo.signing.keys import SigningKey

    return SigningKey.load(key, os.environ.get(PASSWORD))


def _print(verdicts: list[Verdict]) -> None:
    print_table(
        ("SIGNER", "KEY", "FILES", "SAYS"),
        [(v.signer, v.key_id[:KEY_ID_SHOWN], str(v.files), v.says) for v in verdicts],
    )
