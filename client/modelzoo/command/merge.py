"""`zoo merge`: from an adapter to a full model."""

from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.bars import progress_bar
from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, line, note, size_text

if TYPE_CHECKING:
    from modelzoo.merging import Merged

__all__ = ["register"]

EXAMPLES = """\
Examples:

\b
  zoo merge team/chat-lora --to team/chat
  zoo merge team/chat-lora@3 --to team/chat --dtype bfloat16 --alias prod
  zoo merge team/imported-lora --base zoo/smollm2-135m-instruct@1 --to team/chat
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("merge", epilog=EXAMPLES)(merge)


def merge(
    adapter: Annotated[str, typer.Argument(metavar="ADAPTER", help="A version that is a LoRA adapter.")],
    to: Annotated[str, typer.Option(metavar="NAMESPACE/NAME", help="The model that gets the new version.")],
    base: Annotated[
        str, typer.Option(metavar="REF", help="The adapter's base, where its lineage does not name it.")
    ] = "",
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16; each tensor's own in the base otherwise.")
    ] = None,
    alias: Annotated[str | None, typer.Option(help="Move this alias to the new version.")] = None,
    create_namespace: Annotated[
        bool, typer.Option("--create-namespace", help="Make the namespace if it is new.")
    ] = False,
) -> None:
    """Add an adapter to its base and publish the two as one full model, which needs no adapter beside it.

    It is computed on this machine (`modelzoo[merge]`: torch and peft), layer by layer in float32. Only tensors that the
    adapter changes are sent. The lineage names base and adapter. Repeated, it answers the version that is there."""
    with open_client() as client, progress_bar(f"merging {adapter}") as progress:
        made = client.merge(
            adapter,
            to=to,
            base=base,
            dtype=dtype,
            alias=alias,
            create_namespace=create_namespace,
            progress=progress,
            said=note,
        )
    answer(made, lambda: _print(made))


def _print(made: "Merged") -> None:
    line(made.reference)
    if made.was_there:
        note(f"it was there already: {made.base} and {made.adapter} in {', '.join(made.dtypes)}")
    else:
        total, sent = size_text(made.bytes_total), size_text(made.bytes_sent)
        note(f"{made.base} and {made.adapter}: {total} in {', '.join(made.dtypes)}, of which {sent} were sent")
    note(f"`zoo run {made.reference} INPUT` uses it; `zoo lineage {made.reference}` shows where it comes from")
