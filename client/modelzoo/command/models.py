"""`zoo models` and `zoo show`: what there is."""

import itertools
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.alias import serving_text, shares_text
from modelzoo.command.arguments import ReferenceArgument
from modelzoo.command.metrics import metric_rows
from modelzoo.command.session import open_client
from modelzoo.command.terminal import (
    answer,
    count_text,
    counted,
    line,
    note,
    print_table,
    safe,
    short_time,
    shortened,
    size_text,
)

if TYPE_CHECKING:
    from modelzoo.client import Client
    from modelzoo.manifest import Manifest
    from modelzoo.records import Alias, DatasetFacts, Model, ModelCounts, TensorInfo, Version

__all__ = ["register"]

DIGEST_SHOWN = 12


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("models")(list_models)
    app.command("show")(show)


def list_models(
    words: Annotated[
        list[str] | None, typer.Argument(help="Words that names, tags, descriptions or cards must have.")
    ] = None,
    namespace: Annotated[str, typer.Option(help="Only the models of this namespace.")] = "",
    filter: Annotated[
        str,
        typer.Option(
            help="Only those that fulfil this: conditions such as `task = text-generation`, `tags:chat`, "
            "`parameters < 1e9`, `update_time > 2026-01-31` or `name = *bert*`, joined by AND, OR and NOT. "
            "--help of `zoo` names the reference, which has every field.",
        ),
    ] = "",
    sort: Annotated[
        str, typer.Option(help="A field to order by, perhaps with ` desc`: `update_time desc`, `parameters`.")
    ] = "",
    limit: Annotated[int, typer.Option(min=0, help="So many at most; 0: all.")] = 0,
    count: Annotated[bool, typer.Option("--count", help="Only say how many there are, and of what kinds.")] = False,
    deleted: Annotated[bool, typer.Option("--deleted", help="Only deleted ones that can be undeleted.")] = False,
) -> None:
    """Find models: list those that you can see, or those with all of some words."""
    query = " ".join(words or ())
    with open_client() as client:
        if count:
            counts = client.count_models(namespace, query=query, filter=filter)
            answer({"counts": counts}, lambda: _print_counts(counts))
            return
        found = client.models(namespace, query=query, filter=filter, order_by=sort, deleted=deleted)
        wanted = (model for model in found if (model.delete_time is not None) == deleted)
        models = list(itertools.islice(wanted, limit or None))
    answer({"models": models}, lambda: _print_models(models))


def show(
    ref: ReferenceArgument,
    glob: Annotated[str, typer.Argument(metavar="[GLOB]", help="With --tensors: only tensors of such names.")] = "",
    tensors: Annotated[bool, typer.Option("--tensors", help="Show the version's tensors, and nothing else.")] = False,
) -> None:
    """Show a model: what it is, its versions, aliases, files and card. With --tensors, a version's tensors: name,
    number format, shape, bytes, and the blobs that hold them; of the files only the headers are read."""
    from modelzoo.errors import FailedPrecondition, NotFound, PermissionDenied

    if tensors:
        _show_tensors(ref, glob or "*")
        return
    if glob:
        raise typer.BadParameter("it chooses tensors: give --tensors, too", param_hint="GLOB")
    with open_client() as client:
        model = client.model(ref)
        versions = list(client.versions(ref))
        aliases = list(client.aliases(ref))
        try:
            version = client.version(ref)
        except NotFound as error:
            # A model without a version is shown; a version that was asked for must be there.
            if error.reason != "VERSION_NOT_FOUND" or "@" in ref:
                raise
            version = None
        except PermissionDenied as error:
            # What a gated model is, everybody may know.
            if error.reason != "ACCESS_NOT_GRANTED" or "@" in ref:
                raise
            version = None
            asked = f"{model.name} is gated; `zoo access request {model.name}` asks for access to its files"
            note(error.message if "state" in error.metadata else asked)
        try:
            manifest = None if version is None else client.manifest(version.reference)
        except FailedPrecondition:
            manifest = None  # quarantined, as the state says
        base = None if version is None else _base(client, version)
        card = model.card if version is None else client.card(version.reference)
    value = {
        "model": model,
        "version": version,
        "base": base,
        "card": card,
        "versions": versions,
        "aliases": aliases,
        "files": [] if manifest is None else _files(manifest),
    }
    answer(value, lambda: _print_model(model, version, base, versions, aliases, manifest, card))


def _show_tensors(ref: str, glob: str) -> None:
    from modelzoo.tensor_index import matching

    with open_client() as client:
        infos = matching(client.tensor_infos(ref), glob)
    answer({"tensors": infos}, lambda: _print_tensors(infos))


def _print_tensors(infos: "list[TensorInfo]") -> None:
    print_table(
        ("TENSOR", "DTYPE", "SHAPE", "BYTES", "BLOBS"),
        [(info.name, info.dtype, str(list(info.shape)), str(info.size_bytes), _blobs(info.blobs)) for info in infos],
    )
    line()
    line(f"{counted(len(infos), 'tensor')}, {size_text(sum(info.size_bytes for info in infos))}")


def _blobs(digests: "tuple[str, ...]") -> str:
    """The first digest's beginning, and how many follow."""
    if not digests:
        return "-"
    return digests[0][:DIGEST_SHOWN] + (f" +{len(digests) - 1}" if len(digests) > 1 else "")


def _print_models(models: "list[Model]") -> None:
    if not models:
        note("found no model that you can see")
        return
    print_table(
        ("NAME", "TASK", "PARAMETERS", "SIZE", "LATEST", "LICENCE", "UPDATED"),
        [
            (
                model.name,
                model.task or "-",
                count_text(model.parameters),
                "-" if model.size_bytes is None else size_text(model.size_bytes),
                _number(model.latest_version),
                model.licence or "-",
                short_time(model.update_time),
            )
            for model in models
        ],
    )


def _print_counts(counts: "ModelCounts") -> None:
    line(counted(counts.total, "model"))
    for kind, found in (
        ("TASK", counts.tasks),
        ("ARCHITECTURE", counts.architectures),
        ("LICENCE", counts.licences),
        ("NAMESPACE", counts.namespaces),
    ):
        line()
        print_table((kind, "MODELS"), [(value or "-", str(number)) for value, number in found.items()])


def _number(number: int | None) -> str:
    return "-" if number is None else str(number)


def _files(manifest: "Manifest") -> list[dict[str, str | int]]:
    return [{"path": file.path, "size": file.size, "sha256": file.sha256} for file in manifest.files]


def _print_model(
    model: "Model",
    version: "Version | None",
    base: str | None,
    versions: "list[Version]",
    aliases: "list[Alias]",
    manifest: "Manifest | None",
    card: str,
) -> None:
    line(model.name if version is None else version.reference)
    if model.description:
        line(model.description)
    line()
    print_table(("FACT", "VALUE"), [*_model_facts(model), *(_facts(version, base) if version is not None else ())])
    if version is not None and version.metrics:
        line()
        print_table(("DATASET", "SPLIT", "METRIC", "VALUE"), metric_rows(version.metrics))
    if version is not None and version.facts.dataset is not None:
        _print_dataset(version.facts.dataset)
    if aliases:
        line()
        print_table(
            ("ALIAS", "VERSIONS", "SERVING"),
            [(each.alias, shares_text(each), serving_text(each.serving)) for each in aliases],
        )
    if versions:
        line()
        print_table(
            ("VERSION", "STATE", "SIZE", "PUBLISHED", "BY"),
            [
                (str(v.version), v.state, size_text(v.facts.size_bytes), short_time(v.create_time), v.published_by)
                for v in versions
            ],
        )
    if manifest is not None:
        line()
        print_table(("SIZE", "FILE"), [(size_text(file.size), file.path) for file in manifest.files])
    if card:
        line()
        _print_card(card)


def _print_dataset(dataset: "DatasetFacts") -> None:
    line()
    print_table(
        ("SPLIT", "ROWS", "SIZE", "LABELS"),
        [
            (
                split.name,
                "not counted" if split.rows is None else f"{split.rows:,}",
                size_text(split.size_bytes),
                shortened(", ".join(f"{label} {rows:,}" for label, rows in split.labels.items())) or "-",
            )
            for split in dataset.splits
        ],
    )
    line()
    columns = [(each.name, each.type + (", not in every row" if each.optional else "")) for each in dataset.features]
    print_table(("COLUMN", "TYPE"), columns)


def _model_facts(model: "Model") -> list[tuple[str, str]]:
    found = [
        ("owner", model.owner),
        ("kind", "dataset" if model.kind == "DATASET" else ""),
        ("gated", "yes" if model.gated else ""),
    ]
    return [(name, value) for name, value in found if value]


def _base(client: "Client", version: "Version") -> str | None:
    """What an adapter belongs to. None: it is none, its lineage does not say, or the caller may not know."""
    from modelzoo.adapter_base import FORMAT, base_named
    from modelzoo.errors import FailedPrecondition

    if version.facts.format != FORMAT:
        return None
    try:
        return base_named(client.lineages.get(version.reference, direction="up", depth=1), version.reference)
    except FailedPrecondition:
        return None


def _facts(version: "Version", base: str | None) -> list[tuple[str, str]]:
    facts = version.facts
    dtypes = ", ".join(f"{name} {size_text(size)}" for name, size in sorted(facts.dtype_bytes.items()))
    found = [
        ("task", facts.task),
        ("architecture", facts.architecture),
        ("parameters", "" if facts.parameters is None else f"{facts.parameters:,}"),
        ("tensors", dtypes),
        ("context", "" if facts.context_length is None else f"{facts.context_length:,} tokens"),
        ("chat template", "yes" if facts.chat_template else ""),
        ("labels", ", ".join(facts.labels[:10]) + (", ..." if len(facts.labels) > 10 else "")),
        ("licence", facts.licence),
        ("tags", ", ".join(facts.tags)),
        ("adapter of", base or ""),
        ("made from", ", ".join(facts.base_models)),
        ("trained with", ", ".join(facts.datasets)),
        ("languages", ", ".join(facts.languages)),
        ("format", facts.format if facts.dataset is None else f"{facts.format} of {facts.dataset.format}"),
        ("size", f"{size_text(facts.size_bytes)} in {counted(facts.file_count, 'file')}"),
        ("state", f"{version.state}: {version.state_reason}" if version.state_reason else version.state),
        ("version labels", " ".join(f"{name}={value}" for name, value in sorted(version.labels.items()))),
        ("source", version.source),
        ("digest", f"sha256:{version.manifest_digest}"),
    ]
    return [(name, value) for name, value in found if value]


def _print_card(card: str) -> None:
    if not sys.stdout.isatty():
        line(card)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    # Without hyperlinks: what a link says and where it leads are both shown.
    Console().print(Markdown(safe(card), hyperlinks=False))
