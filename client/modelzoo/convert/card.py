"""The card of an imported model: README.md, its front matter as the Hub's cards have it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from modelzoo.convert.check import Checked

__all__ = ["Origin", "write_card"]

CARD = "README.md"
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
# A licence is a word, or a list of them on the lines below.
_LICENCE = re.compile(r"^license:.*\n(?:[ \t]*-[ \t].*\n)*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model comes from. `source` is what its version will say; `how` a sentence on how it was converted;
    `licence` an identifier, '' where nothing says it."""

    title: str
    source: str
    how: str
    licence: str = ""


def write_card(folder: Path, origin: Origin, checked: Checked, licence: str | None) -> None:
    """Write a card into the directory where there is none; `licence`, if given, replaces what another card says."""
    path = folder / CARD
    if not path.exists():
        text = _generated(origin, checked, licence or origin.licence)
    elif licence:
        text = _relicensed(path.read_text(encoding="utf-8", errors="replace"), licence)
    else:
        return
    # A new file: the present one may be shared with the source.
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")


def _generated(origin: Origin, checked: Checked, licence: str) -> str:
    front = f"---\n{_licence_line(licence)}---\n" if licence else ""
    said = f"Licence: {_one_line(licence)}" if licence else "Licence: not stated where it comes from; ask before use"
    dtypes = ", ".join(checked.dtypes)
    prepares = "its tokenizer or processor too" if checked.has_processor else "it has no tokenizer or processor"
    return (
        f"{front}# {_one_line(origin.title)}\n\n"
        f"`{checked.architecture}`, {checked.parameters:,} parameters in {dtypes}.\n\n"
        f"- Source: {_one_line(origin.source)}\n"
        f"- {said}.\n"
        f"- {origin.how}\n"
        f"- Checked when imported: every tensor of the architecture was there in its shape, and the model loaded; "
        f"{prepares}. Its answers were not compared with anybody's.\n"
    )


def _relicensed(text: str, licence: str) -> str:
    found = _FRONT_MATTER.match(text)
    if found is None:
        return f"---\n{_licence_line(licence)}---\n{text}"
    others = _LICENCE.sub("", found[1])
    return f"---\n{_licence_line(licence)}{others}---\n{text[found.end() :]}"


def _licence_line(licence: str) -> str:
    return f"license: {json.dumps(_one_line(licence), ensure_ascii=False)}\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())
