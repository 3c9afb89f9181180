"""transformers' Trainer in a plain script, run as a process of its own. See trainer_script.py."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Scripted", "run_script"]

THREADS = 2  # as many as the cluster's trainer takes


@dataclass(frozen=True, slots=True)
class Scripted:
    """`loop_s` are the seconds in `Trainer.train`, `whole_s` those of the whole process; bytes of each checkpoint."""

    loop_s: float
    whole_s: float
    checkpoints: list[int]


def run_script(kind: str, base: Path, data: Path, *, steps: int, batch_size: int, save_steps: int) -> Scripted:
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS), "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryDirectory(prefix="zoo-bench-") as out:
        argv = [sys.executable, "-m", "benchmarks.trainer_script", kind, str(base), str(data), out]
        argv += [str(steps), str(batch_size), str(save_steps)]
        begun = time.monotonic()
        done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, env=environment)
        whole_s = time.monotonic() - begun
    said = json.loads(done.stdout.splitlines()[-1])
    return Scripted(said["loop_s"], whole_s, said["checkpoints"])
