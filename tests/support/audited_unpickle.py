"""Unpickles a checkpoint and writes down what the interpreter was asked to do: LOG MODE CHECKPOINT TARGET.

MODE is `converter` (what the converter's process runs), `careless` (torch's unsafe loading, to show that this sees what
that does) or `confined` (the same unsafe loading, inside the converter's confinement).
"""

import os
import sys

import torch

from modelzoo.convert import unpickle
from modelzoo.convert.confinement import confine

LOG, MODE, CHECKPOINT, TARGET = sys.argv[1:]
_log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def record(event: str, arguments: tuple[object, ...]) -> None:
    written = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    os.write(_log, f"{'written' if written else event}\n".encode())


if MODE == "converter":
    unpickle._prepare_torch()
    sys.addaudithook(record)
    unpickle.main(CHECKPOINT, TARGET)
else:
    if MODE == "confined":
        confine(os.path.getsize(CHECKPOINT))
    sys.addaudithook(record)
    torch.load(CHECKPOINT, weights_only=False)
