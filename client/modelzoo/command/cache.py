"""`zoo cache`: what this machine keeps of the zoo's files."""

from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.bars import progress_bar
from modelzoo.command.quantities import age_s, size_bytes
from modelzoo.command.terminal import answer, counted, line, note, print_table, short_time, size_text

if TYPE_CHECKING:
    from modelzoo.cache_contents import CachedModel, Cleaned, Contents

__all__ = ["register"]

DIGEST_SHOWN = 12


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Look at, verify and clean what this machine keeps of the zoo's files.")
    group.command("list")(list_contents)
    group.command("verify")(verify)
    epilog = "Examples:\n\n\b\n  zoo cache clean --older-than 30d --dry-run\n  zoo cache clean --to 20G"
    group.command("clean", epilog=epilog)(clean)
    app.add_typer(group, name="cache")


def list_contents() -> None:
    """List the versions in the cache ($ZOO_CACHE), the last used first: size, last use, and whether a process of this
    machine holds them. Files that several share count once in the sum."""
    from modelzoo import config
    from modelzoo.cache_contents import CacheContents

    settings = config.cache_config()
    contents = CacheContents(settings.root, settings.budget_bytes).listing()
    answer(contents, lambda: _print_contents(contents))


def verify() -> None:
    """Read every file of the cache again. What is damaged is removed, and fetched again when it is next asked for."""
    from modelzoo import config
    from modelzoo.cache import NodeCache

    settings = config.cache_config()
    cache = NodeCache(settings.root, settings.budget_bytes)
    with progress_bar("verifying") as progress:
        damaged = list(cache.scrub(progress))
    checked = len(damaged) + len(cache.files())
    answer({"files": checked, "damaged": damaged}, lambda: _print_verified(checked, damaged))


def clean(
    ref: Annotated[
        str, typer.Argument(metavar="[REF]", help="This version, or all versions of this model, and no other's files.")
    ] = "",
    everything: Annotated[bool, typer.Option("--all", help="All that no process holds.")] = False,
    older_than: Annotated[
        str, typer.Option(metavar="AGE", help="What was not used for so long: 30m, 12h, 30d, 2w.")
    ] = "",
    to: Annotated[
        str, typer.Option(metavar="SIZE", help="Down to so many bytes, the least recently used first: 20G.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """Remove files from the cache: those of REF, all, the old ones, or as many as it takes. What a process of this
    machine holds always stays."""
    from modelzoo import config
    from modelzoo.cache_contents import CacheContents

    if sum(map(bool, (ref, everything, older_than, to))) != 1:
        raise typer.BadParameter("give one of REF, --all, --older-than and --to")
    settings = config.cache_config()
    contents = CacheContents(settings.root, settings.budget_bytes)
    if ref:
        cleaned = contents.clean_model(ref, dry_run=dry_run)
    elif older_than:
        cleaned = contents.clean_older(age_s(older_than, "--older-than"), dry_run=dry_run)
    elif to:
        cleaned = contents.clean_to(size_bytes(to, "--to"), dry_run=dry_run)
    else:
        cleaned = contents.clean_all(dry_run=dry_run)
    answer(cleaned, lambda: _print_cleaned(cleaned))


def _print_contents(contents: "Contents") -> None:
    if contents.models:
        print_table(("VERSION", "SIZE", "FILES", "LAST USE", "IN USE"), [_row(model) for model in contents.models])
        line()
    unnamed = f", {size_text(contents.unnamed_bytes)} of it of no version" if contents.unnamed_bytes else ""
    line(f"{contents.root}: {size_text(contents.used_bytes)} of {size_text(contents.budget_bytes)}{unnamed}")


def _row(model: "CachedModel") -> tuple[str, str, str, str, str]:
    files = str(model.file_count) if model.files_here == model.file_count else f"{model.files_here}/{model.file_count}"
    called = " ".join(model.names) or f"sha256:{model.digest[:DIGEST_SHOWN]}"
    return called, size_text(model.size_bytes), files, short_time(model.last_use), "yes" if model.in_use else ""


def _print_verified(checked: int, damaged: list[str]) -> None:
    line(f"{checked} files read, {len(damaged)} damaged and removed")
    for sha256 in damaged:
        line(f"sha256:{sha256}")
    if damaged:
        note("they are fetched again when a version that has them is next pulled")


def _print_cleaned(cleaned: "Cleaned") -> None:
    removed = "would be removed, which would free" if cleaned.dry_run else "removed, which freed"
    line(f"{counted(cleaned.files, 'file')} {removed} {size_text(cleaned.freed_bytes)}")
    if cleaned.in_use:
        note(f"{cleaned.in_use} more stay, because they are in use")
