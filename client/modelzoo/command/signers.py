"""`zoo signers`: whose signatures a namespace takes."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, line, print_table

if TYPE_CHECKING:
    from modelzoo.signatures import SigningPolicy

__all__ = ["register"]

NamespaceArgument = Annotated[str, typer.Argument(metavar="NAMESPACE")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="What to call the signer, such as `release`.")]

app = typer.Typer(help="Say whose signatures a namespace takes, and whether it requires one.", no_args_is_help=True)


class Switch(StrEnum):
    """Whether something holds."""

    ON = "on"
    OFF = "off"


def register(root: typer.Typer) -> None:
    """Add the group."""
    root.add_typer(app, name="signers")


@app.command("list")
def list_signers(namespace: NamespaceArgument) -> None:
    """List whose signatures the namespace takes."""
    with open_client() as client:
        policy = client.signatures.policy(namespace)
    _answer(policy)


@app.command("trust")
def trust(
    namespace: NamespaceArgument,
    name: NameArgument,
    public_key: Annotated[Path, typer.Argument(metavar="PEM", help="The signer's public key.")],
) -> None:
    """Trust a signer; one of the same name gets this key. For admins of the namespace."""
    from modelzoo.signatures import TrustedSigner
    from modelzoo.signing.keys import PublicKey

    signer = TrustedSigner(name, PublicKey.load(public_key).pem)
    with open_client() as client:
        now = client.signatures.policy(namespace)
        kept = [each for each in now.signers if each.name != name]
        changed = client.signatures.set_policy(
            namespace, [*kept, signer], require_signatures=now.require_signatures, etag=now.etag
        )
    _answer(changed)


@app.command("distrust")
def distrust(namespace: NamespaceArgument, name: NameArgument) -> None:
    """Trust a signer no longer: where signatures are required, what it alone signed is unloaded within seconds."""
    with open_client() as client:
        now = client.signatures.policy(namespace)
        kept = [each for each in now.signers if each.name != name]
        if len(kept) == len(now.signers):
            raise typer.BadParameter(f"{namespace} trusts no signer {name!a}: `zoo signers list {namespace}`.")
        changed = client.signatures.set_policy(
            namespace, kept, require_signatures=now.require_signatures, etag=now.etag
        )
    _answer(changed)


@app.command("require")
def require(namespace: NamespaceArgument, switch: Annotated[Switch, typer.Argument(metavar="on/off")]) -> None:
    """Serve only versions that a trusted signer vouches for (on), or all (off).

    With `on`, an alias moves to signed versions only, and workers verify manifest and signature themselves before they
    load; what is loaded and not signed is unloaded within seconds.
    """
    with open_client() as client:
        now = client.signatures.policy(namespace)
        changed = client.signatures.set_policy(
            namespace, now.signers, require_signatures=switch is Switch.ON, etag=now.etag
        )
    _answer(changed)


def _answer(policy: "SigningPolicy") -> None:
    answer(policy, lambda: _print(policy))


def _print(policy: "SigningPolicy") -> None:
    line(f"signatures {'required' if policy.require_signatures else 'not required'}")
    print_table(("SIGNER", "KEY"), [(each.name, each.key_id) for each in policy.signers])
