"""A training's state as files, from which it goes on exactly: no pickle among them.

checkpoint.json         what it is of, how far it is, what was measured; `version` says how to read the rest
trainer_state.json      the loop's own counters, as transformers writes them
optimizer.json          groups of the optimizer, and the schedule
model.safetensors       what training changes; frozen tensors come from the base
optimizer.safetensors   `<parameter's number>.<name>`
random.safetensors      generators of Python, NumPy and torch
best.safetensors        what it changes, as it was at the best evaluation so far; absent where that is not kept
"""

import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from modelzoo.errors import FailedPrecondition
from zoo_trainer.tensors import load_tensors, save_tensors
from zoo_trainer.usage import Usage

__all__ = ["BEST", "MODEL", "Record", "load_optimizer", "load_random", "read_record", "save_optimizer", "save_random"]

VERSION = 1
RECORD, MODEL, BEST = "checkpoint.json", "model.safetensors", "best.safetensors"
OPTIMIZER, GROUPS, RANDOM = "optimizer.safetensors", "optimizer.json", "random.safetensors"


@dataclass(frozen=True, slots=True)
class Record:
    """`of` says what the training is: another job's checkpoint differs in it. `seconds`, `examples` and what was used
    are of all attempts; `best` is the best value of the recipe's metric on the validation split, `worse` how many
    evaluations came after it; `before` is the measurement of the base."""

    of: Mapping[str, Any]
    step: int
    micro_batch: int
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    examples: int = 0
    best: float | None = None
    best_step: int = 0
    worse: int = 0
    before: Mapping[str, Any] | None = None
    memory_bytes: int = 0
    gpu_seconds: float = 0.0
    gpu_memory_bytes: int = 0

    @property
    def used(self) -> Usage:
        return Usage(self.cpu_seconds, self.gpu_seconds, self.memory_bytes, self.gpu_memory_bytes)

    def write(self, folder: Path) -> None:
        (folder / RECORD).write_text(json.dumps({"version": VERSION, **asdict(self)}, indent=1, sort_keys=True))


def read_record(folder: Path, of: Mapping[str, Any]) -> Record:
    """CHECKPOINT_INVALID where it is of another job, damaged, or written by a release that this one cannot read."""
    try:
        content = json.loads((folder / RECORD).read_bytes())
        version = content.pop("version")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise _invalid(f"{RECORD} cannot be read") from error
    if version != VERSION:
        raise _invalid(f"it is of version {version!r}, and this trainer reads {VERSION}: update the trainer")
    try:
        record = Record(**content)
    except TypeError as error:
        raise _invalid(f"{RECORD} has other fields: {error}") from error
    differing = sorted(name for name in {*of, *record.of} if of.get(name) != record.of.get(name))
    if differing:
        raise _invalid(f"it is of another training: {', '.join(differing)} differ")
    return record


def save_optimizer(optimizer: torch.optim.Optimizer, scheduler: Any, folder: Path) -> None:
    state: dict[str, Any] = optimizer.state_dict()
    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, Any] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            (tensors if isinstance(value, torch.Tensor) else numbers)[f"{index}.{name}"] = value
    save_tensors(tensors, folder / OPTIMIZER)
    groups = {"groups": state["param_groups"], "numbers": numbers, "schedule": scheduler.state_dict()}
    (folder / GROUPS).write_text(json.dumps(groups))


def load_optimizer(optimizer: torch.optim.Optimizer, scheduler: Any, folder: Path) -> None:
    """CHECKPOINT_INVALID where it does not fit."""
    try:
        groups = json.loads((folder / GROUPS).read_bytes())
        state: dict[int, dict[str, Any]] = {}
        for key, value in {**load_tensors(folder / OPTIMIZER), **groups["numbers"]}.items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = value
        optimizer.load_state_dict({"state": state, "param_groups": groups["groups"]})
        scheduler.load_state_dict(groups["schedule"])
    except (OSError, ValueError, KeyError) as error:
        raise _invalid(f"the optimizer's state does not fit: {error}") from error


def save_random(folder: Path) -> None:
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = cast(Any, np.random.get_state())
    tensors = {
        "python": torch.tensor([version, *words], dtype=torch.int64),
        "python.gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        "numpy": torch.tensor([*keys.tolist(), position, has_gauss], dtype=torch.int64),
        "numpy.gauss": torch.tensor([cached], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        tensors["cuda.0"] = torch.cuda.get_rng_state()  # of the one that this process computes on
    save_tensors(tensors, folder / RANDOM)


def load_random(folder: Path) -> None:
    tensors = load_tensors(folder / RANDOM)
    version, *words = cast(list[int], cast(Any, tensors["python"]).tolist())
    gauss = cast(list[float], cast(Any, tensors["python.gauss"]).tolist())
    random.setstate((version, tuple(words), gauss[0] if gauss else None))
    *keys, position, has_gauss = cast(list[int], cast(Any, tensors["numpy"]).tolist())
    cached = tensors["numpy.gauss"].item()
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(tensors["torch"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda.0"])


def _invalid(why: str) -> FailedPrecondition:
    return FailedPrecondition("CHECKPOINT_INVALID", f"The checkpoint cannot be gone on from: {why}.")
