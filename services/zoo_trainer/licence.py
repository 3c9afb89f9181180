"""What a base's card says of its licence, which holds for what is made from it too."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

__all__ = ["licence_of"]

CARD = "README.md"
START_CHARACTERS = 64 * 1024
KEYS = ("license", "license_name", "license_link")
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*$", re.DOTALL | re.MULTILINE)


def licence_of(base: Path) -> Mapping[str, Any]:
    """The lines about licences of the front matter of the card in `base`, as the Hub's cards have them: texts, or lists
    of them. Nothing where there is no card, or none that can be read."""
    try:
        with (base / CARD).open(encoding="utf-8", errors="replace") as file:
            found = _FRONT_MATTER.match(file.read(START_CHARACTERS))
        # Every scalar stays the text that it is, and no tag makes an object.
        front: Any = yaml.load(found[1], Loader=yaml.BaseLoader) if found else None  # noqa: S506 - stricter than safe
    except (OSError, yaml.YAMLError, RecursionError, ValueError):
        return {}
    facts = cast(dict[str, Any], front) if isinstance(front, dict) else {}
    return {key: facts[key] for key in KEYS if _is_words(facts.get(key))}


def _is_words(value: Any) -> bool:
    words = cast(list[Any], value) if isinstance(value, list) else [value]
    return bool(words) and all(isinstance(each, str) and each for each in words)
