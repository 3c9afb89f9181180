"""Language models: the answer as it is written."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelzoo.command.run.inputs import STDIN, read_stdin, read_texts
from modelzoo.command.run.options import RunOptions
from modelzoo.command.session import wants_json
from modelzoo.command.terminal import answer, line, note, write_piece

if TYPE_CHECKING:
    from modelzoo.client import Client
    from modelzoo.generation import GenerationOptions, Prompt
    from modelzoo.records import Finish

__all__ = ["generate"]


def generate(client: "Client", ref: str, inputs: Sequence[str], options: RunOptions) -> None:
    """Continue the one prompt."""
    wanted: GenerationOptions = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        "top_k": options.top_k,
        "seed": options.seed,
        "stop": options.stop,
        "max_tokens": options.max_tokens,
        "raw": options.raw,
    }
    pieces: list[str] = []
    with client.generate(ref, _prompt(_one(ref, inputs), options.system), **wanted) as generation:
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
    _tell(finish)


def _one(ref: str, inputs: Sequence[str]) -> str:
    from modelzoo.errors import InvalidArgument

    if len(inputs) > 1:
        raise InvalidArgument(
            "FIELD_INVALID",
            f"{ref} takes one prompt, and {len(inputs)} inputs were given: put the prompt in quotes, "
            f'"{" ".join(inputs)[:200]}", or run them one after another.',
        )
    return read_stdin() if inputs[0] == STDIN else read_texts(ref, inputs)[0]


def _prompt(text: str, system: str | None) -> "Prompt":
    if system is None:
        return text
    return [{"role": "system", "content": system}, {"role": "user", "content": text}]


def _tell(finish: "Finish") -> None:
    rate = f", {finish.output_tokens / finish.decode_s:.0f} tokens/s" if finish.decode_s else ""
    note(f"{finish.reference}: {finish.input_tokens} + {finish.output_tokens} tokens{rate}")
    if finish.reason == "LENGTH":
        note(f"The text was cut after {finish.output_tokens} tokens; --max-tokens sets another limit.")
