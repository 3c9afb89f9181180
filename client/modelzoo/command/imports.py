"""`zoo import`: foreign checkpoints, converted, checked by loading them, and published."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]

_CHECKPOINT_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".tar")

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

LabelsOption = Annotated[
    Path | None,
    typer.Option(
        "--labels", metavar="FILE", help="The names of the classes: a text, one a line in the order of the outputs."
    ),
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
        typer.Argument(
            metavar="[FILE]", help="A state dict (.pth, .safetensors); torchvision's published weights otherwise."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAMESPACE/NAME]", help="The model; zoo/ARCH otherwise.")
    ] = None,
    labels: LabelsOption = None,
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
    # Here, so that `zoo --help` does not wait for grpc.
    from modelzoo.command.import_sources import from_torchvision
    from modelzoo.command.importing import Target, run_import
    from modelzoo.convert.torchvision import check_arch

    check_arch(arch)
    target = Target(name or f"zoo/{arch}", alias, licence, create_namespace, dry_run, keep)
    run_import(target, lambda folder: from_torchvision(arch, file, labels, folder))


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
    from modelzoo.command.import_sources import find_directory, from_directory, from_hub
    from modelzoo.command.importing import Target, run_import

    directory = find_directory(source)
    last = directory.resolve().name if directory else source.rpartition("/")[2]
    target = Target(name or f"zoo/{last}", alias, licence, create_namespace, dry_run, keep)
    if directory:
        run_import(target, lambda folder: from_directory(directory, folder))
    else:
        run_import(target, lambda folder: from_hub(source, revision, folder))


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
    from modelzoo.command.import_sources import from_gguf
    from modelzoo.command.importing import Target, run_import

    target = Target(name or f"zoo/{file.stem}", alias, licence, create_namespace, dry_run, keep)
    run_import(target, lambda folder: from_gguf(file, folder))
