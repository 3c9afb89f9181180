"""`zoo sweep`, `zoo fsck`, `zoo usage`: looking after what is stored."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.failure import FOUND
from modelzoo.command.session import open_client, wants_json
from modelzoo.command.terminal import answer, line, note, print_table, short_time, size_text

if TYPE_CHECKING:
    from modelzoo.upkeep_records import CheckResult, StoreUsage, Sweeping, SweepResult, Told, Usage

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        "sweep", epilog="Examples:\n\n\b\n  zoo sweep --dry-run\n  zoo sweep --freeze --reason 'backup until 6'"
    )(sweep)
    app.command("fsck", epilog="Examples:\n\n\b\n  zoo fsck\n  zoo fsck --full --repair")(fsck)
    app.command("usage", epilog="Examples:\n\n\b\n  zoo usage\n  zoo usage team --json")(usage)


def sweep(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Delete nothing, show what would be deleted.")] = False,
    freeze: Annotated[bool, typer.Option("--freeze", help="Do not sweep; let nobody sweep until --unfreeze.")] = False,
    reason: Annotated[str, typer.Option(help="Why it is frozen, for those who find it so.")] = "",
    unfreeze: Annotated[bool, typer.Option("--unfreeze", help="Do not sweep; let sweeping go on.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Do not sweep; show whether sweeping is on.")] = False,
) -> None:
    """Delete what no version, pin or upload holds any more, and show how many bytes that frees (for administrators of
    the cluster). It happens every day by itself; whatever was put, sent or asked for within a day is kept."""
    if dry_run + freeze + unfreeze + status > 1:
        raise typer.BadParameter("--dry-run, --freeze, --unfreeze and --status exclude each other")
    with open_client() as client:
        if freeze or unfreeze:
            state = client.upkeep.set_sweeping(frozen=freeze, reason=reason)
            answer(state, lambda: _print_state(state))
        elif status:
            found = client.upkeep.sweeping()
            answer(found, lambda: _print_state(found))
        else:
            with _told("sweeping") as told:
                result = client.upkeep.sweep(dry_run=dry_run, told=told)
            answer(result, lambda: _print_swept(result))


def fsck(
    full: Annotated[bool, typer.Option("--full", help="Read every byte that is stored.")] = False,
    sample: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the blobs whose bytes are read; 0.01 otherwise.")
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Mend what can be mended without the bytes; mark damaged blobs, so that pushes mend them."
        ),
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild-index", help="First take into the index what lies in the object store."),
    ] = False,
) -> None:
    """Check that the index and the object store agree, in both directions, and that bytes are what their names say (for
    administrators of the cluster). Ends with exit code 7 where something does not agree and was not mended."""
    with open_client() as client:
        if rebuild:
            with _told("rebuilding") as told:
                rebuilt = client.upkeep.rebuild_index(told=told)
            note(f"the index has {rebuilt.blob_count} blobs and {rebuilt.manifest_count} manifests")
        with _told("checking") as told:
            result = client.upkeep.check(full=full, sample=sample, repair=repair, told=told)
    answer(result, lambda: _print_checked(result))
    if not all(finding.repaired for finding in result.findings):
        raise typer.Exit(FOUND)


def usage(
    namespace: Annotated[str | None, typer.Argument(metavar="[NAMESPACE]", help="Of one namespace alone.")] = None,
) -> None:
    """Show how many bytes each namespace uses: as its files say, as they are stored (each blob once), and of blobs that
    it alone uses, which its deletion would free."""
    with open_client() as client:
        if namespace is not None:
            one = client.upkeep.usage(namespace)
            answer(one, lambda: _print_usages([one]))
        else:
            all_of_them, store = client.upkeep.usages()
            answer({"namespaces": all_of_them, "store": store}, lambda: _print_usages(all_of_them, store))


@contextmanager
def _told(what: str) -> "Generator[Told | None]":
    """Shows how far the work is, where a person looks at a terminal."""
    if wants_json() or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status(what) as status:
        yield lambda words: status.update(f"{what}: {words}")


def _print_state(state: "Sweeping") -> None:
    line(f"sweeping is off: {state.reason}" if state.reason else "sweeping is on")
    line(f"last sweep: {short_time(state.sweep_time)}; kept without a pin for {state.grace_s / 3600:g} h")


def _print_swept(result: "SweepResult") -> None:
    print_table(
        ("WHAT", "COUNT", "BYTES"),
        [
            ("expired pins", str(result.expired_pins), "-"),
            ("manifests out of a namespace", str(result.hidden_manifests), "-"),
            ("manifests", str(result.deleted_manifests), "-"),
            ("blobs", str(result.deleted_blobs), size_text(result.deleted_bytes)),
            ("leftovers of broken uploads", str(result.deleted_leftovers), size_text(result.leftover_bytes)),
        ],
    )
    freed = size_text(result.deleted_bytes + result.leftover_bytes)
    line(f"{freed} would be free" if result.dry_run else f"{freed} are free, in {result.seconds:.1f} s")
    if result.adopted_manifests:
        note(f"{result.adopted_manifests} manifests were not in the index, and are kept for another grace period")
    if result.dry_run and result.sweeping.reason:
        note(f"sweeping is off: {result.sweeping.reason}")
    for failure in result.failures:
        note(f"not deleted, to be tried again by the next sweep: {failure}")


def _print_checked(result: "CheckResult") -> None:
    if result.findings:
        print_table(
            ("FINDING", "MENDED", "WHERE", "WHAT"),
            [
                (
                    finding.kind.lower().replace("_", " "),
                    "yes" if finding.repaired else "no",
                    finding.resource,
                    finding.detail,
                )
                for finding in result.findings
            ],
        )
    line(
        f"{len(result.findings)} findings, {result.repaired_count} of them mended or marked; "
        f"{result.checked_count} rows compared, {size_text(result.read_bytes)} read, in {result.seconds:.1f} s"
    )


def _print_usages(usages: "list[Usage]", store: "StoreUsage | None" = None) -> None:
    rows = [
        (
            usage.namespace,
            str(usage.manifest_count),
            size_text(usage.logical_bytes),
            str(usage.blob_count),
            size_text(usage.physical_bytes),
            size_text(usage.exclusive_bytes),
        )
        for usage in usages
    ]
    if store is not None:
        total = (
            str(store.manifest_count),
            size_text(store.logical_bytes),
            str(store.blob_count),
            size_text(store.physical_bytes),
        )
        rows.append(("*", *total, f"{size_text(store.unreferenced_bytes)} unreferenced"))
    print_table(("NAMESPACE", "MANIFESTS", "LOGICAL", "BLOBS", "STORED", "ITS ALONE"), rows)
