"""What a state dict of torchvision's must hold, entry by entry, and how it is told that one does not."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from modelzoo.errors import InvalidArgument

__all__ = ["Entry", "Layout", "Shapes", "check_entries", "indices"]

NAMED_MAX = 10
OPTIONAL = "num_batches_tracked"  # checkpoints from before torch 0.4.1 lack it

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry's name in transformers' form, and its shape."""

    name: str
    shape: tuple[int, ...]

    @property
    def is_optional(self) -> bool:
        return self.name.endswith(OPTIONAL)


@dataclass(frozen=True, slots=True)
class Layout:
    """A network as read off a state dict: entries by torchvision's names, and the config that describes them.

    `described` says in words what it is.
    """

    described: str
    model_type: str
    architecture: str
    settings: Mapping[str, Any]
    entries: Mapping[str, Entry]
    label_count: int


def indices(names: Iterable[str], pattern: str) -> list[int]:
    """The different numbers that the pattern's group finds at the beginning of names, in order."""
    return sorted({int(found[1]) for name in names if (found := re.match(pattern, name))})


def check_entries(arch: str, layout: Layout, shapes: Shapes) -> None:
    """Raise STATE_DICT_MISMATCH, naming entries, unless the shapes are exactly the layout's."""
    missing = [name for name, entry in layout.entries.items() if name not in shapes and not entry.is_optional]
    unexpected = [name for name in shapes if name not in layout.entries]
    mismatched = [name for name, entry in layout.entries.items() if name in shapes and shapes[name] != entry.shape]
    if not (missing or unexpected or mismatched):
        return
    wrong = [f"{name!a} is {list(shapes[name])}, not {list(layout.entries[name].shape)}" for name in mismatched]
    is_kin = re.search(rf"\b{re.escape(arch)}\d*\b", layout.described, re.IGNORECASE)
    looks = f"entries look like {layout.described}"
    said = f"The {looks}, but do not fit it." if is_kin else f"This is no state dict of {arch}; its {looks}."
    parts = [
        _listed("missing", list(map(ascii, missing))),
        _listed("unexpected", list(map(ascii, unexpected))),
        _listed("of another shape", wrong),
    ]
    raise InvalidArgument(
        "STATE_DICT_MISMATCH",
        f"{said} {' '.join(filter(None, parts))}",
        metadata={
            "missing": str(len(missing)),
            "unexpected": str(len(unexpected)),
            "mismatched": str(len(mismatched)),
        },
    )


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return f"{len(names)} {what}: {', '.join(names[:NAMED_MAX])}{more}."
