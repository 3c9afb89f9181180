"""The command itself: its options, and who does which task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.arguments import ReferenceArgument
from modelzoo.command.run.classifying import classify_images, classify_texts
from modelzoo.command.run.detecting import detect
from modelzoo.command.run.embedding import embed
from modelzoo.command.run.generating import generate
from modelzoo.command.run.options import RunOptions, check_options
from modelzoo.command.run.transcribing import transcribe
from modelzoo.command.session import open_client

if TYPE_CHECKING:
    from modelzoo.client import Client
    from modelzoo.records import Version

__all__ = ["register"]

EXAMPLES = """\
Examples:

\b
  zoo run zoo/smollm2-135m-instruct "What is the capital of France?"
  zoo run zoo/all-minilm-l6-v2 "a small dog" "a puppy" "rates went up"
  zoo run zoo/efficientnet-lite0 china.jpg flower.jpg --top-k 3
  zoo run zoo/dfine-mini-digits scene.png --threshold 0.6 --out boxes.png
  zoo run zoo/bert-mini-wordnet "a small domesticated feline"
  zoo run zoo/whisper-tiny.en Front_Center.wav --verbose
  curl -s http://camera/still.jpg | zoo run zoo/efficientnet-lite0 - --json
"""


@dataclass(frozen=True, slots=True)
class _Task:
    """Who does it, and the options that it takes."""

    run: "Callable[[Client, str, Sequence[str], RunOptions], None]"
    takes: tuple[str, ...] = ()


_EMBED = _Task(embed)
# By the catalog's names, which are the Hub's pipeline tags.
_TASKS = {
    "text-generation": _Task(
        generate, ("system", "temperature", "top_p", "top_k", "seed", "stop", "max_tokens", "raw")
    ),
    "sentence-similarity": _EMBED,
    "feature-extraction": _EMBED,
    "text-classification": _Task(classify_texts, ("top_k",)),
    "image-classification": _Task(classify_images, ("top_k",)),
    "object-detection": _Task(detect, ("threshold", "out")),
    "automatic-speech-recognition": _Task(transcribe, ("language", "verbose")),
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run", epilog=EXAMPLES)(run)


def run(
    ref: ReferenceArgument,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="A prompt, texts, or files of pictures or sounds, as the model takes them; - reads standard input.",
        ),
    ],
    system: Annotated[str | None, typer.Option(help="Language models: instructions for the whole chat.")] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, max=2, help="Language models: 0 to 2; 0 takes the most probable token.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Language models: draw among the fewest tokens of this probability."),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=1_000_000,
            help="Classifiers: show this many labels (5). Language models: draw among this many tokens.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Language models: makes a draw repeatable.")] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="Language models: end before this text; may be repeated.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, max=1_048_576, help="Language models: most tokens to make.")
    ] = None,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Language models: continue the prompt as it stands, without a chat template."),
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Detectors: 0 to 1 (0.5); objects of a lower score are left out."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Detectors: write the picture with boxes and labels drawn in; of several pictures, a folder.",
        ),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(help="Speech: what is spoken, as ISO 639-1 (de); found out otherwise."),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Speech: show the parts with their times."),
    ] = False,
) -> None:
    """Run a model on the inputs; its task decides what that means. A language model answers as it writes, a sentence
    model shows how alike the inputs are (one input, or --json: its vectors), a classifier shows the most probable
    labels of each text or picture, a detector the objects of each picture, a speech model what was said in each
    sound. A LoRA adapter does what its base does, with what it learned added to it."""
    options = RunOptions(
        system=system,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        seed=seed,
        stop=tuple(stop or ()),
        max_tokens=max_tokens,
        raw=raw,
        threshold=threshold,
        language=language,
        out=out,
        verbose=verbose,
    )
    with open_client() as client:
        version = client.version(ref)
        found, ref = _task(client, version), version.reference
        task = _TASKS.get(found)
        if task is None:
            raise _refusal(ref, found)
        check_options(options, task.takes, ref, found)
        task.run(client, ref, inputs, options)


def _task(client: "Client", version: "Version") -> str:
    """What the version does; an adapter what its base does."""
    from modelzoo.adapter_base import FORMAT, base_of

    if version.facts.format != FORMAT:
        return version.facts.task
    return base_of(client, version).facts.task or version.facts.task


def _refusal(ref: str, task: str) -> Exception:
    from modelzoo.errors import FailedPrecondition

    # What says no task need not be a model at all.
    python = " In Python, modelzoo.load gives its module." if task else ""
    return FailedPrecondition(
        "TASK_MISMATCH",
        f"{ref} does {task or 'no known task'!a}; `zoo run` runs {', '.join(_TASKS)}.{python}",
        metadata={"task": task},
    )
