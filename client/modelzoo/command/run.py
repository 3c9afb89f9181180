"""`zoo run`: does with a model what the model is for."""

import itertools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.arguments import ReferenceArgument
from modelzoo.command.session import open_client, wants_json
from modelzoo.command.terminal import answer, line, note, print_table, write_piece

if TYPE_CHECKING:
    from modelzoo.client import Client
    from modelzoo.generation import GenerationOptions, Prompt

__all__ = ["register"]

GENERATING = frozenset({"text-generation"})
EMBEDDING = frozenset({"sentence-similarity", "feature-extraction"})
SHOWN_CHARACTERS = 48


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    ref: ReferenceArgument,
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="The prompt, or the texts to compare; - reads standard input."),
    ],
    system: Annotated[str | None, typer.Option(help="Instructions for the whole chat.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 to 2; 0 takes the most probable token.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw among the fewest tokens of this probability.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw among this many tokens.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes a draw repeatable.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be repeated.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Most tokens to make.")] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Continue the prompt as it stands, without a chat template.")
    ] = False,
) -> None:
    """Run a model on the inputs. A language model answers as it writes; a sentence model shows how alike the inputs
    are (one input, or --json: its vectors)."""
    options: GenerationOptions = {
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "seed": seed,
        "stop": stop or (),
        "max_tokens": max_tokens,
        "raw": raw,
    }
    with open_client() as client:
        version = client.version(ref)
        if version.facts.task in GENERATING:
            _generate(client, version.reference, _prompt(" ".join(_read(inputs)), system), options)
        elif version.facts.task in EMBEDDING:
            _embed(client, version.reference, [text for each in _read(inputs) for text in each.splitlines() if text])
        else:
            _refuse(version.reference, version.facts.task)


def _read(inputs: Sequence[str]) -> list[str]:
    return [sys.stdin.read() if each == "-" else each for each in inputs]


def _prompt(text: str, system: str | None) -> "Prompt":
    if system is None:
        return text
    return [{"role": "system", "content": system}, {"role": "user", "content": text}]


def _generate(client: "Client", ref: str, prompt: "Prompt", options: "GenerationOptions") -> None:
    pieces: list[str] = []
    with client.generate(ref, prompt, **options) as generation:
        try:
            for piece in generation:
                pieces.append(piece)
                if not wants_json():
                    write_piece(piece)
        finally:
            if pieces and not wants_json() and not pieces[-1].endswith("\n"):
                line()
        finish = generation.finish
    answer({"text": "".join(pieces), "finish": finish}, lambda: None)
    rate = f", {finish.output_tokens / finish.decode_s:.0f} tokens/s" if finish.decode_s else ""
    note(f"{finish.reference}: {finish.input_tokens} + {finish.output_tokens} tokens{rate}")


def _embed(client: "Client", ref: str, texts: Sequence[str]) -> None:
    from modelzoo.errors import InvalidArgument

    if not texts:
        raise InvalidArgument("INPUT_EMPTY", "There is no text to embed: give one or more, or lines on standard input.")
    vectors = [[float(value) for value in row] for row in client.embed(ref, texts)]
    value = {"reference": ref, "inputs": texts, "embeddings": vectors}
    answer(value, lambda: _print_similarities(texts, vectors))


def _print_similarities(texts: Sequence[str], vectors: Sequence[Sequence[float]]) -> None:
    if len(vectors) == 1:
        line(" ".join(f"{value:.6g}" for value in vectors[0]))
        return
    numbers = [str(number) for number in range(1, len(texts) + 1)]
    print_table(
        ("", "INPUT", *numbers),
        [
            (number, _shortened(text), *(f"{_cosine(vector, other):.3f}" for other in vectors))
            for number, text, vector in zip(numbers, texts, vectors, strict=True)
        ],
    )
    pairs = itertools.combinations(range(len(vectors)), 2)
    score, first, second = max((_cosine(vectors[a], vectors[b]), a, b) for a, b in pairs)
    line(f"\nMost alike: {numbers[first]} and {numbers[second]} ({score:.3f})")


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def _cosine(left: Sequence[float], right: Sequence[float]) -> float:
    dot = sum(a * b for a, b in zip(left, right, strict=True))
    norm = (sum(a * a for a in left) * sum(b * b for b in right)) ** 0.5
    return dot / norm if norm else 0.0


def _refuse(ref: str, task: str) -> None:
    from modelzoo.errors import FailedPrecondition

    known = ", ".join(sorted(GENERATING | EMBEDDING))
    raise FailedPrecondition(
        "TASK_MISMATCH", f"{ref} does {task or 'no known task'!a}; `zoo run` runs {known}.", metadata={"task": task}
    )
