"""`zoo push` and `zoo pull`: bytes up and down."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.arguments import ReferenceArgument
from modelzoo.command.bars import progress_bar
from modelzoo.command.lineage import parent_of
from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, line, note, size_text

if TYPE_CHECKING:
    from modelzoo.records import PullResult, PushResult

__all__ = ["register"]

SKIPPED_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("push")(push)
    app.command("pull")(pull)


def push(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The directory to publish; with --dataset, also a file of rows alone.")
    ],
    name: Annotated[str, typer.Argument(metavar="NAMESPACE/NAME", help="The model; made if it is new.")],
    alias: Annotated[str | None, typer.Option(help="Move this alias to the new version.")] = None,
    source: Annotated[str, typer.Option(help="Where the files come from: a URL, a package and its version.")] = "",
    base: Annotated[
        list[str] | None,
        typer.Option(metavar="REF", help="A version that shares bytes with this one; may be repeated."),
    ] = None,
    parent: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REF[:KIND]",
            help="A version that this one was made from, and how: fine-tuned, adapter, merged, quantised or derived, "
            "which it is otherwise; may be repeated. `zoo lineage` shows it.",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="What the files are: transformers, onnx, gguf, adapter, dataset or opaque (anything, which no worker "
            "loads); found out from their names otherwise.",
        ),
    ] = None,
    dataset: Annotated[
        bool,
        typer.Option(
            "--dataset",
            help="The files are a dataset: *.jsonl, *.csv, *.parquet, COCO's *.json, an audio manifest, or pictures in "
            "folders by label; `train`, `validation` and `test` in their names say the split. Rows are checked first.",
        ),
    ] = False,
    create_namespace: Annotated[
        bool, typer.Option("--create-namespace", help="Make the namespace if it is new.")
    ] = False,
) -> None:
    """Publish a directory as the next version of a model or dataset. Only bytes that the zoo lacks are sent; if it
    breaks off, run it again. Hidden files are left out."""
    format = "dataset" if dataset else format
    parents = [parent_of(text) for text in parent or ()]
    with _folder(directory, dataset) as folder, open_client() as client, progress_bar(f"pushing {name}") as progress:
        result = client.push(
            folder,
            name,
            alias=alias,
            source=source,
            bases=base or (),
            parents=parents,
            format=format,
            create_namespace=create_namespace,
            progress=progress,
        )
    if result.skipped:
        more = ", ..." if len(result.skipped) > SKIPPED_SHOWN else ""
        note(f"left out {len(result.skipped)} hidden: {', '.join(result.skipped[:SKIPPED_SHOWN])}{more}")
    if format is None:
        _say_what_lacks(directory)
    answer(result, lambda: _print_pushed(result))


def pull(
    ref: ReferenceArgument,
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Where the files shall be; only in the local cache otherwise."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Only files of such paths; may be repeated.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files of DIR that have other content.")] = False,
) -> None:
    """Fetch a version's files, those that the local cache lacks. Every byte is verified; if it breaks off, run it
    again."""
    with open_client() as client, progress_bar(f"pulling {ref}") as progress:
        result = client.download(ref, directory, only=only or None, force=force, progress=progress)
    answer(result, lambda: _print_pulled(result))


def _folder(path: Path, dataset: bool) -> AbstractContextManager[Path]:
    """What is to be pushed; of a file of rows, a folder with that alone, as its split `train`."""
    if not (dataset and path.is_file()):
        return nullcontext(path)
    from modelzoo.training_data import staged

    return staged(path)


def _say_what_lacks(directory: Path) -> None:
    # Here, so that `zoo --help` does not wait for grpc.
    from modelzoo.push_checks import what_lacks
    from modelzoo.tree import read_tree

    if lacking := what_lacks(read_tree(directory)):
        note(
            f"no worker can load this as a model: {lacking}. A model is config.json and *.safetensors, as "
            "`save_pretrained` writes them; `zoo import` converts other forms."
        )


def _print_pushed(result: "PushResult") -> None:
    line(f"{result.reference}  sha256:{result.digest}")
    if not result.is_new:
        note(f"unchanged: {result.reference} has these files already, and nothing was published")
        return
    note(f"{size_text(result.bytes_total)}, {_moved('sent', result.bytes_sent, result.seconds)}")


def _print_pulled(result: "PullResult") -> None:
    line(str(result.path))
    moved = _moved("received", result.bytes_received, result.seconds)
    note(f"{result.reference}: {size_text(result.bytes_total)}, {moved}")


def _moved(how: str, size_bytes: int, seconds: float) -> str:
    rate = f" ({size_text(size_bytes / seconds)}/s)" if size_bytes and seconds > 0 else ""
    return f"{size_text(size_bytes)} {how} in {seconds:.1f} s{rate}"
