"""`zoo namespaces`: who owns models."""

from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.confirm import YesOption, confirm
from modelzoo.command.quantities import size_bytes
from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, line, print_table, short_time, size_text

if TYPE_CHECKING:
    from modelzoo.records import Namespace

__all__ = ["register"]

NameArgument = Annotated[str, typer.Argument(metavar="NAME")]
EtagOption = Annotated[str, typer.Option(help="Only if this is still its etag; `zoo namespaces show` tells it.")]

app = typer.Typer(help="Make, list, change and delete namespaces: who owns models.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the group."""
    root.add_typer(app, name="namespaces")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
) -> None:
    """Make a namespace; you become its admin."""
    with open_client() as client:
        made = client.create_namespace(name, description)
    answer(made, lambda: line(made.name))


@app.command("list")
def list_namespaces() -> None:
    """List the namespaces in which you have a role."""
    with open_client() as client:
        found = list(client.namespaces())
    rows = [(each.name, short_time(each.create_time), each.description) for each in found]
    answer({"namespaces": found}, lambda: print_table(("NAME", "MADE", "DESCRIPTION"), rows))


@app.command("show")
def show(name: NameArgument) -> None:
    """Show a namespace: its policy, its quota and what of it is used."""
    with open_client() as client:
        found = client.manage.namespace(name)
    answer(found, lambda: _print(found))


@app.command("update")
def update(
    name: NameArgument,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    quota_bytes: Annotated[
        str | None,
        typer.Option(
            "--quota-bytes",
            metavar="SIZE",
            help="Most bytes of its versions: 500G, 1.5T or a number; 0: no limit. For the cluster's admins.",
        ),
    ] = None,
    undelete_days: Annotated[
        int | None, typer.Option(min=0, help="Days for which what was deleted can be undeleted.")
    ] = None,
    keep_versions: Annotated[
        int | None,
        typer.Option(min=0, help="READY versions that stay when one is published, but for aliased and pinned; 0: all."),
    ] = None,
    keep_checkpoints: Annotated[
        int | None, typer.Option(min=1, help="Newest checkpoints that a training job keeps while it has not ended.")
    ] = None,
    allow_opaque: Annotated[
        bool | None,
        typer.Option(
            "--allow-opaque/--refuse-opaque",
            help="Whether files that could run code (pickles, unsafe archives, layers with code) may be kept, with "
            "--format opaque, as bytes that nothing loads. Harmless files of that format are kept anyway.",
        ),
    ] = None,
    etag: EtagOption = "",
) -> None:
    """Change a namespace's description, policy or quota; what is not given stays."""
    with open_client() as client:
        changed = client.manage.update_namespace(
            name,
            description=description,
            quota_bytes=None if quota_bytes is None else size_bytes(quota_bytes, "--quota-bytes"),
            allow_opaque=allow_opaque,
            undelete_days=undelete_days,
            keep_versions=keep_versions,
            keep_checkpoints=keep_checkpoints,
            etag=etag,
        )
    answer(changed, lambda: _print(changed))


@app.command("delete")
def delete(name: NameArgument, yes: YesOption = False, etag: EtagOption = "") -> None:
    """Delete a namespace without models, for good, and everybody's roles in it. Its name is never given again."""
    confirm(f"Delete the namespace {name} for good?", yes=yes)
    with open_client() as client:
        client.manage.delete_namespace(name, etag=etag)
    answer({"deleted": name}, lambda: line(f"deleted {name}"))


def _print(namespace: "Namespace") -> None:
    policy = namespace.policy
    quota = "none" if namespace.quota_bytes is None else size_text(namespace.quota_bytes)
    found = [
        ("name", namespace.name),
        ("description", namespace.description),
        ("quota", quota),
        ("used", "" if namespace.used_bytes is None else size_text(namespace.used_bytes)),
        ("undelete", f"for {policy.undelete_days} days"),
        ("keeps", "all versions" if policy.keep_versions is None else f"the newest {policy.keep_versions} versions"),
        ("checkpoints", f"the newest {policy.keep_checkpoints} of a training job"),
        ("unsafe files", "kept as bytes" if policy.allow_opaque else "refused"),
        ("made", short_time(namespace.create_time)),
        ("etag", namespace.etag),
    ]
    print_table(("FACT", "VALUE"), [(name, value) for name, value in found if value])
