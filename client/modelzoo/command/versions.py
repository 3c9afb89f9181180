"""`zoo versions`: find, label, deprecate and delete versions."""

import itertools
from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.arguments import ModelArgument
from modelzoo.command.confirm import YesOption, confirm
from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, line, print_table, short_time, size_text

if TYPE_CHECKING:
    from modelzoo.records import Version

__all__ = ["register"]

NumberedArgument = Annotated[
    str, typer.Argument(metavar="MODEL@NUMBER", help="One version by its number, such as `team/bert@3`.")
]
EtagOption = Annotated[str, typer.Option(help="Only if this is still its etag; `zoo versions list --json` tells it.")]

app = typer.Typer(
    help="List, find, label, deprecate, delete and undelete versions. What a version holds never changes.",
    no_args_is_help=True,
)


def register(root: typer.Typer) -> None:
    """Add the group."""
    root.add_typer(app, name="versions")


@app.command("list")
def list_versions(
    model: ModelArgument,
    filter: Annotated[
        str,
        typer.Option(
            help="Only those that fulfil this: conditions such as `state = READY`, `labels.stage = prod`, "
            "`metrics.sst2.accuracy > 0.9`, `create_time > 2026-01-31`, `size_bytes < 1e9` or `base = team/bert@3`, "
            'joined by AND, OR and NOT. Names that are no words go into quotes: `metrics."zoo/digits".accuracy`.',
        ),
    ] = "",
    sort: Annotated[
        str,
        typer.Option(
            help="A field to order by, or a metric, perhaps with ` desc`: `size_bytes`, `metrics.sst2.accuracy desc`."
        ),
    ] = "",
    limit: Annotated[int, typer.Option(min=0, help="So many at most; 0: all.")] = 0,
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted ones, too.")] = False,
) -> None:
    """List a model's versions, highest first; or find those that fulfil a filter, the best first by a metric. Metrics
    are shown where filter or order ask for some."""
    with open_client() as client:
        found = list(
            itertools.islice(client.versions(model, filter=filter, order_by=sort, deleted=deleted), limit or None)
        )
    answer({"versions": found}, lambda: _print(found, with_metrics="metrics" in filter + sort))


@app.command("label")
def label(
    version: NumberedArgument,
    labels: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="`NAME=` alone removes the label.")],
    etag: EtagOption = "",
) -> None:
    """Set or remove labels of a version; others stay. One named `pin` keeps the version, however few its namespace
    keeps."""
    parsed = dict(_label(text) for text in labels)
    with open_client() as client:
        changed = client.manage.label(version, parsed, etag=etag)
    answer(changed, lambda: line(f"{changed.reference}  {_labels(changed) or 'no labels'}"))


@app.command("deprecate")
def deprecate(
    version: NumberedArgument,
    reason: Annotated[str, typer.Option(help="Why, and what to use instead.")] = "",
    etag: EtagOption = "",
) -> None:
    """Say that another version should be used. It can be used all the same, but is no longer the latest."""
    with open_client() as client:
        changed = client.manage.deprecate(version, reason, etag=etag)
    answer(changed, lambda: line(f"deprecated {changed.reference}"))


@app.command("reinstate")
def reinstate(version: NumberedArgument, etag: EtagOption = "") -> None:
    """Take a deprecation back."""
    with open_client() as client:
        changed = client.manage.reinstate(version, etag=etag)
    answer(changed, lambda: line(f"{changed.reference} is {changed.state}"))


@app.command("delete")
def delete(version: NumberedArgument, yes: YesOption = False, etag: EtagOption = "") -> None:
    """Delete a version that no alias targets. It can be undeleted for as many days as its namespace says; its number is
    never given again."""
    confirm(f"Delete the version {version}?", yes=yes)
    with open_client() as client:
        gone = client.manage.delete_version(version, etag=etag)
    until = f"; until {short_time(gone.purge_time)}: zoo versions undelete {gone.reference}"
    answer(gone, lambda: line(f"deleted {gone.reference}{until}"))


@app.command("undelete")
def undelete(version: NumberedArgument) -> None:
    """Bring a deleted version back in the state that it had. `zoo versions list --deleted` shows them."""
    with open_client() as client:
        was = client.version(version).state
        back = client.manage.undelete_version(version)
    said = "is {} again" if was == "DELETED" else "was not deleted: it is {}"
    answer(back, lambda: line(f"{back.reference} {said.format(back.state)}"))


@app.command("purge")
def purge(version: NumberedArgument, yes: YesOption = False) -> None:
    """Let go of a deleted version's bytes now instead of at the end of its time (for admins of the namespace). Nothing
    brings it back."""
    confirm(f"Purge {version}? It can never be undeleted.", yes=yes)
    with open_client() as client:
        gone = client.manage.purge_version(version)
    answer(gone, lambda: line(f"purged {gone.reference}"))


def _label(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"{text!a} is not NAME=VALUE.", param_hint="NAME=VALUE")
    return name, value or None


def _labels(version: "Version") -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(version.labels.items()))


def _metrics(version: "Version") -> str:
    return ", ".join(f"{each.dataset} {each.split} {each.name}={each.value:g}" for each in version.metrics)


def _print(versions: "list[Version]", *, with_metrics: bool) -> None:
    header = ("VERSION", "STATE", "SIZE", "PUBLISHED", "BY", "LABELS", "REASON", "UNDELETE UNTIL")
    rows = [
        (
            str(version.version),
            version.state,
            size_text(version.facts.size_bytes),
            short_time(version.create_time),
            version.published_by,
            _labels(version) or "-",
            version.state_reason or "-",
            short_time(version.purge_time),
        )
        for version in versions
    ]
    if not with_metrics:
        print_table(header, rows)
        return
    print_table((*header, "METRICS"), [(*row, _metrics(each) or "-") for row, each in zip(rows, versions, strict=True)])
