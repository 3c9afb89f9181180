"""One call for each file: what is wrong with one of them costs the others nothing."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from modelzoo.command.failure import report
from modelzoo.command.run.inputs import FileInput
from modelzoo.command.terminal import answer

if TYPE_CHECKING:
    from modelzoo.client import Client
    from modelzoo.errors import ZooError

__all__ = ["answer_each", "run_each"]

R = TypeVar("R")


def run_each(
    client: "Client", method: Callable[..., R], ref: str, files: Sequence[FileInput], **options: object
) -> "list[R | ZooError]":
    """What the method answers for each file, in order, or the error that it raises.

    An error that is the input's own names the file. Any other would meet the next file too: no more calls are begun,
    and it stands for all that were left.
    """
    from modelzoo.errors import ZooError

    ended: list[ZooError] = []

    def run(_: str, file: FileInput) -> "R | ZooError":
        if ended:
            return ended[0]
        try:
            return method(ref, file.source, **options)
        except ZooError as error:
            if _is_of_the_input(error):
                return _naming(file, error)
            ended.append(error)
            return ended[0]

    return client.map(run, ref, files)


def answer_each(
    ref: str,
    files: Sequence[FileInput],
    found: "Sequence[R | ZooError]",
    fields: Callable[[R], dict[str, Any]],
    show: Callable[[list[tuple[FileInput, R]]], None],
) -> None:
    """Answer what was found, then report each error; the first one gives the exit code.

    With --json every input has a result, of `fields` or with its `error`; else `show` prints those that have one. The
    error of a single input is raised.
    """
    from modelzoo.errors import ZooError

    errors = [each for each in found if isinstance(each, ZooError)]
    if errors and len(files) == 1:
        raise errors[0]
    pairs = list(zip(files, found, strict=True))
    good = [(file, each) for file, each in pairs if not isinstance(each, ZooError)]
    results = [
        {"input": file.name, **({"error": _plain(each)} if isinstance(each, ZooError) else fields(each))}
        for file, each in pairs
    ]
    answer({"reference": ref, "results": results}, lambda: show(good) if good else None)
    # By identity: one error may stand for many inputs.
    codes = [report(error) for error in {id(error): error for error in errors}.values()]
    if codes:
        raise typer.Exit(codes[0])


def _is_of_the_input(error: "ZooError") -> bool:
    from modelzoo.errors import InvalidArgument

    return isinstance(error, InvalidArgument) or error.reason == "REQUEST_TOO_LARGE"


def _naming(file: FileInput, error: "ZooError") -> "ZooError":
    return type(error)(
        error.reason,
        f"{file.name}: {error.message}",
        metadata=error.metadata,
        retry_after_s=error.retry_after_s,
        field=error.field,
    )


def _plain(error: "ZooError") -> dict[str, str]:
    return {"code": error.code.name, "reason": error.reason, "message": error.message}
