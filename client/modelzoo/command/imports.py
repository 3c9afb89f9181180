"""`zoo import`: foreign checkpoints, converted, checked by loading them, and published."""

import hashlib
import os
import re
from pathlib import Path
from typing import Annotated

import typer

from modelzoo.command.bars import progress_bar
from modelzoo.command.importing import Made, Target, cache_folder, run_import
from modelzoo.command.terminal import note
from modelzoo.errors import InvalidArgument

__all__ = ["register"]

_CHECKPOINT_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".tar")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[\w.-]+)?", re.ASCII)

app = typer.Typer(
    help="""Convert models from elsewhere and publish them.

    The result is safetensors, config, tokenizer and card, checked by loading it before anything is pushed. Pickles are
    read in a process of their own, which can do nothing but read tensors; code in a repository is never run. Needs the
    packages of `modelzoo[import]`.""",
    no_args_is_help=True,
    rich_markup_mode=None,
)

AliasOption = Annotated[str | None, typer.Option("--alias", help="Move this alias to the new version.")]
LicenceOption = Annotated[
    str | None,
    typer.Option("--license", metavar="ID", help="The model's licence, such as apache-2.0; goes into the card."),
]
NamespaceOption = Annotated[bool, typer.Option("--create-namespace", help="Make the namespace if it is new.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Convert and check, and push nothing; needs no zoo.")]
KeepOption = Annotated[
    Path | None, typer.Option("--keep", metavar="DIR", help="Leave the converted model in this new directory too.")
]


def register(root: typer.Typer) -> None:
    """Add `import` to the command."""
    root.add_typer(app, name="import")


@app.command("torchvision")
def import_torchvision(
    arch: Annotated[
        str,
        typer.Argument(
            metavar="ARCH",
            help="alexnet, resnet18, resnet34, resnet50, resnet101, resnet152, or another depth in FILE.",
        ),
    ],
    file: Annotated[
        str | None,
        typer.Argument(metavar="[FILE]", help="A state dict (.pth); torchvision's published weights otherwise."),
    ] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAMESPACE/NAME]", help="The model; zoo/ARCH otherwise.")
    ] = None,
    alias: AliasOption = None,
    licence: LicenceOption = None,
    create_namespace: NamespaceOption = False,
    dry_run: DryRunOption = False,
    keep: KeepOption = None,
) -> None:
    """Publish an AlexNet or ResNet from a state dict of torchvision's.

    `zoo import torchvision resnet18` fetches the published ImageNet weights from download.pytorch.org (or from
    $ZOO_TORCHVISION_URL) and checks them against their digest. `zoo import torchvision resnet18 mine.pth team/mine`
    takes a file of yours."""
    if name is None and file is not None and not Path(file).exists() and not file.endswith(_CHECKPOINT_SUFFIXES):
        file, name = None, file
    target = Target(name or f"zoo/{arch}", alias, licence, create_namespace, dry_run, keep)
    run_import(target, lambda folder: _make_torchvision(arch, file, folder))


@app.command("hf")
def import_hf(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A directory in Hugging Face layout, or a name on the Hub.")
    ],
    name: Annotated[
        str | None, typer.Argument(metavar="[NAMESPACE/NAME]", help="The model; zoo/ and SOURCE's last part otherwise.")
    ] = None,
    revision: Annotated[str, typer.Option(metavar="REVISION", help="The branch, tag or commit on the Hub.")] = "main",
    alias: AliasOption = None,
    licence: LicenceOption = None,
    create_namespace: NamespaceOption = False,
    dry_run: DryRunOption = False,
    keep: KeepOption = None,
) -> None:
    """Publish a model in Hugging Face form: a directory, or one fetched from the Hub.

    `zoo import hf gpt2` and `zoo import hf google-bert/bert-base-uncased team/bert` fetch what is needed and check
    every file against its published digest; $HF_TOKEN opens gated models, $HF_ENDPOINT names another hub.
    `zoo import hf ./my-model` takes a directory. Safetensors stay as they are; .bin files are converted."""
    directory = Path(source).expanduser()
    if not directory.is_dir():
        _refuse_missing_directory(source)
    last = directory.resolve().name if directory.is_dir() else source.rpartition("/")[2]
    target = Target(name or f"zoo/{last}", alias, licence, create_namespace, dry_run, keep)
    if directory.is_dir():
        run_import(target, lambda folder: _make_from_directory(directory, folder))
    else:
        run_import(target, lambda folder: _make_from_hub(source, revision, folder))


@app.command("gguf")
def import_gguf(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A GGUF file.")],
    name: Annotated[
        str | None, typer.Argument(metavar="[NAMESPACE/NAME]", help="The model; zoo/ and the file's name otherwise.")
    ] = None,
    alias: AliasOption = None,
    licence: LicenceOption = None,
    create_namespace: NamespaceOption = False,
    dry_run: DryRunOption = False,
    keep: KeepOption = None,
) -> None:
    """Publish a GGUF file as bfloat16 safetensors with its tokenizer.

    `zoo import gguf SmolLM2-135M-Instruct.Q4_1.gguf team/smollm2`. Quantised weights become dense, and keep the
    precision that they have."""
    target = Target(name or f"zoo/{file.stem}", alias, licence, create_namespace, dry_run, keep)
    run_import(target, lambda folder: _make_from_gguf(file, folder))


def _make_torchvision(arch: str, file: str | None, folder: Path) -> Made:
    from modelzoo.convert import torchvision
    from modelzoo.convert.card import Origin
    from modelzoo.convert.published import TORCHVISION_URL, fetch_torchvision

    if file is not None:
        checkpoint, fetched = Path(file), ""
    else:
        base_url = os.environ.get("ZOO_TORCHVISION_URL") or TORCHVISION_URL
        with progress_bar(f"fetching {arch}") as progress:
            checkpoint = fetch_torchvision(arch, cache_folder("downloads/torchvision"), progress, base_url=base_url)
        fetched = f"{base_url.rstrip('/')}/"
    note(f"converting {checkpoint.name}")
    torchvision.convert(arch, checkpoint, folder)
    how = "Converted from torchvision's state dict: renamed tensors, unchanged values."
    if fetched:
        how += " torchvision's code is under BSD-3-Clause; its weights may have terms of the data behind them."
    return Made(Origin(arch, f"{fetched}{checkpoint.name} sha256:{_sha256(checkpoint)}", how))


def _make_from_directory(directory: Path, folder: Path) -> Made:
    return _assemble(directory, folder, directory.resolve().name, directory.resolve().name, "", ())


def _make_from_hub(model: str, revision: str, folder: Path) -> Made:
    from huggingface_hub import get_token

    from modelzoo.convert.hub import HUB_URL, Hub, fetch_model

    hub = Hub((os.environ.get("HF_ENDPOINT") or HUB_URL).rstrip("/"), get_token())
    with progress_bar(f"fetching {model}") as progress:
        found = fetch_model(hub, model, revision, cache_folder("downloads/hub"), progress)
    place = f"{hub.url}/{found.model}/tree/{found.commit}"
    return _assemble(found.folder, folder, found.model, place, found.licence, found.left_out)


def _assemble(source: Path, folder: Path, title: str, place: str, licence: str, not_fetched: tuple[str, ...]) -> Made:
    from modelzoo.convert.card import Origin
    from modelzoo.convert.huggingface import assemble

    with progress_bar(f"reading {title}") as progress:
        found = assemble(source, folder, progress)
    digests = " ".join(f"{path.name} sha256:{_sha256(path)}" for path in found.weights[:1])
    more = f" and {len(found.weights) - 1} more" if len(found.weights) > 1 else ""
    how = "Weights converted from pickles, values unchanged." if found.was_pickled else "Weights byte for byte."
    return Made(Origin(title, f"{place} ({digests}{more})", how, licence), (*found.left_out, *not_fetched))


def _make_from_gguf(file: Path, folder: Path) -> Made:
    from modelzoo.convert.card import Origin
    from modelzoo.convert.gguf import convert

    note(f"converting {file.name}")
    facts = convert(file, folder)
    how = f"Converted from GGUF to bfloat16, which adds no precision: most weights were stored as {facts.storage}."
    origin = f"{facts.origin} " if facts.origin else ""
    source = f"{origin}{file.name} sha256:{_sha256(file)}"
    return Made(Origin(facts.name or file.stem, source, how, facts.licence))


def _refuse_missing_directory(source: str) -> None:
    if Path(source).exists():
        raise InvalidArgument("LOCAL_PATH_INVALID", f"{source!a} is a file; name the directory that it lies in.")
    if not _HUB_NAME.fullmatch(source):
        raise InvalidArgument("LOCAL_PATH_INVALID", f"There is no directory {source!a}, and no model has such a name.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
