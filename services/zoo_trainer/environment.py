"""Where a training ran: what has to be the same for its weights to come out the same, bit for bit."""

import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["Environment", "environment"]

PACKAGES = ("torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors", "numpy")
CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Environment:
    """`software` are versions by package; `device` is `cpu`, or a GPU by its maker's name."""

    software: dict[str, str]
    threads: int
    processor: str
    device: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def environment() -> Environment:
    """This process's own."""
    import torch

    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"
    software = {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}
    return Environment(software, torch.get_num_threads(), _processor(), device)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    """Its maker's name for it, where the system says one."""
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
