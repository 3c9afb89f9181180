"""Sizes and ages as people write them on a command line."""

import re
from collections.abc import Mapping

import typer

__all__ = ["age_s", "size_bytes"]

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_AGES_S = {"m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}


def size_bytes(text: str, option: str) -> int:
    """Of `500`, `1.5G` or `20GB`, in decimal units. Raises BadParameter for what is none of these."""
    return int(_quantity(text.removesuffix("B"), _UNITS, option))


def age_s(text: str, option: str) -> float:
    """Of `30m`, `12h`, `30d` or `2w`. Raises BadParameter for what is none of these."""
    return _quantity(text, _AGES_S, option)


def _quantity(text: str, units: Mapping[str, int], option: str) -> float:
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]?)", text)
    if found is None or found[2] not in units:
        written = ", ".join(f"10{unit}" for unit in units)
        raise typer.BadParameter(f"{text!r} is none of the form {written}", param_hint=option)
    return float(found[1]) * units[found[2]]
