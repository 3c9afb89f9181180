"""What `zoo run` was told beside the model and its inputs."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

__all__ = ["RunOptions", "check_options"]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """As the options of the command, by their names; None, False and () are what nobody gave."""

    system: str | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    seed: int | None
    stop: tuple[str, ...]
    max_tokens: int | None
    raw: bool
    threshold: float | None
    language: str | None
    out: Path | None
    verbose: bool


def check_options(options: RunOptions, taken: Collection[str], ref: str, task: str) -> None:
    """FIELD_INVALID for an option that means nothing to models of this task."""
    from modelzoo.errors import InvalidArgument

    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    # Not by truth: 0 is a seed, a temperature and a threshold.
    given = [name for name, value in values.items() if not (value is None or value is False or value == ())]
    for name in given:
        if name not in taken:
            known = ", ".join(map(_written, taken)) or "none"
            raise InvalidArgument(
                "FIELD_INVALID",
                f"{_written(name)} means nothing to {ref}, which does {task}; options that do: {known}.",
            )


def _written(name: str) -> str:
    return f"--{name.replace('_', '-')}"
