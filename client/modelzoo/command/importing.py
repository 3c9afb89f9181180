"""What every `zoo import` does around its conversion: make, check by loading, write the card, publish."""

import errno
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from modelzoo.command.bars import progress_bar
from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, line, note, size_text
from modelzoo.config import cache_config
from modelzoo.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from modelzoo.reference import Reference, parse

if TYPE_CHECKING:
    from modelzoo.client import Client
    from modelzoo.convert.card import Origin
    from modelzoo.convert.check import Checked

__all__ = ["Made", "Summary", "Target", "cache_folder", "run_import"]

LEFT_OUT_SHOWN = 8
NEEDED = ("torch", "transformers", "safetensors", "huggingface_hub", "gguf")


@dataclass(frozen=True, slots=True)
class Target:
    """Where the converted model goes."""

    name: str
    alias: str | None
    licence: str | None
    create_namespace: bool
    dry_run: bool
    keep: Path | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What a converted folder holds, as --json shows it; `left_out` are names of the source that were not taken."""

    name: str
    source: str
    architecture: str
    parameters: int
    dtypes: tuple[str, ...]
    has_processor: bool
    bytes_total: int
    files: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """A model in transformers' form, not checked yet."""

    origin: "Origin"
    left_out: tuple[str, ...] = ()


def run_import(target: Target, make: Callable[[Path], Made]) -> None:
    """Convert into a folder that is removed again, check, and publish what passed."""
    reference = parse(target.name)
    _refuse_missing_packages()
    _refuse_used_directory(target.keep)
    with ExitStack() as stack:
        stack.enter_context(_full_disk_told())
        client = None if target.dry_run else stack.enter_context(open_client())
        if client is not None:
            _refuse_closed_zoo(client, reference, target)
        folder = stack.enter_context(_working_folder())
        made = make(folder)
        summary = _check(target, made, folder)
        if target.keep is not None:
            shutil.copytree(folder, target.keep, dirs_exist_ok=True)
        if client is None:
            answer(summary, lambda: _print_summary(summary))
        else:
            _publish(client, target, summary, folder)


def _check(target: Target, made: Made, folder: Path) -> Summary:
    from transformers.utils import logging

    from modelzoo.convert.card import write_card
    from modelzoo.convert.check import check_directory

    note("checking that it loads")
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    checked = check_directory(folder)
    write_card(folder, made.origin, checked, target.licence)
    if not checked.has_processor:
        note("it has no tokenizer or image processor: only programs that bring their own can use it")
    if made.left_out:
        more = ", ..." if len(made.left_out) > LEFT_OUT_SHOWN else ""
        note(f"left out {len(made.left_out)}: {', '.join(made.left_out[:LEFT_OUT_SHOWN])}{more}")
    return _summary(target.name, made, checked, folder)


def _summary(name: str, made: Made, checked: "Checked", folder: Path) -> Summary:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return Summary(
        name=name,
        source=made.origin.source,
        architecture=checked.architecture,
        parameters=checked.parameters,
        dtypes=checked.dtypes,
        has_processor=checked.has_processor,
        bytes_total=sum(path.stat().st_size for path in files),
        files=tuple(path.relative_to(folder).as_posix() for path in files),
        left_out=made.left_out,
    )


def _publish(client: "Client", target: Target, summary: Summary, folder: Path) -> None:
    with progress_bar(f"pushing {target.name}") as progress:
        pushed = client.push(
            folder,
            target.name,
            alias=target.alias,
            source=summary.source,
            create_namespace=target.create_namespace,
            progress=progress,
        )

    def show() -> None:
        line(f"{pushed.reference}  sha256:{pushed.digest}")
        note(f"{_words(summary)}; {size_text(pushed.bytes_sent)} sent in {pushed.seconds:.1f} s")

    answer(asdict(summary) | asdict(pushed), show)


def _print_summary(summary: Summary) -> None:
    line(f"{summary.name}  {_words(summary)}")
    for name in summary.files:
        line(f"  {name}")
    note("nothing was pushed")


def _words(summary: Summary) -> str:
    dtypes = ", ".join(summary.dtypes)
    return f"{summary.architecture}, {summary.parameters:,} parameters in {dtypes}, {size_text(summary.bytes_total)}"


def cache_folder(name: str) -> Path:
    """A folder of that name beside the node cache, for what is fetched and what is being made."""
    folder = cache_config().root / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _working_folder() -> Generator[Path]:
    with tempfile.TemporaryDirectory(dir=cache_folder("imports")) as made:
        yield Path(made)


@contextmanager
def _full_disk_told() -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        message = f"The disk has no room for the model below {cache_config().root}; ZOO_CACHE names another place."
        raise ResourceExhausted("DISK_FULL", message) from error


def _refuse_missing_packages() -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise FailedPrecondition(
            "PACKAGE_MISSING", f"Importing needs {', '.join(missing)}: install `modelzoo[import]`."
        )


def _refuse_used_directory(keep: Path | None) -> None:
    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise InvalidArgument("LOCAL_PATH_INVALID", f"{str(keep)!a} is there already; name a new directory to keep.")


def _refuse_closed_zoo(client: "Client", reference: Reference, target: Target) -> None:
    """Before minutes of fetching: that the zoo answers, takes the key, and has the namespace or may make it."""
    try:
        client.model(reference.model)
    except NotFound as error:
        if error.metadata.get("state"):  # deleted: the push would be refused
            raise
        names = {namespace.name.casefold() for namespace in client.namespaces()}
        if not target.create_namespace and reference.namespace.casefold() not in names:
            message = f"There is no namespace '{reference.namespace}' that you may see; --create-namespace makes it."
            raise NotFound("NAMESPACE_NOT_FOUND", message) from error
