"""What a starter says of itself: the card of what is made here, and the figures of what a job has trained."""

import json
from importlib import resources
from pathlib import Path

__all__ = ["CARD", "is_stand_in", "put_card"]

RECORD = "training.json"
CARD = "README.md"


def put_card(name: str, folder: Path) -> None:
    """Leave `cards/<name>.md` as the folder's card."""
    (folder / CARD).write_text((resources.files("zoo_starters") / "cards" / f"{name}.md").read_text())


def is_stand_in(folder: Path, full_steps: int) -> bool:
    """Whether the directory's model had fewer steps than the published one has."""
    return bool(json.loads((folder / RECORD).read_text())["steps"] < full_steps)
