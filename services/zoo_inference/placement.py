"""In which number format a model is computed here, and what memory it takes then."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelzoo.errors import ResourceExhausted

__all__ = ["Placement", "has_fast_bfloat16", "place", "too_large"]

HALVES = ("F16", "BF16")
CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Placement:
    """`widened`: 16-bit weights are turned into float32, which takes memory of their own."""

    widened: bool
    size_bytes: int


def place(dtype_bytes: Mapping[str, int], budget_bytes: int, *, fast_bfloat16: bool) -> Placement:
    """How to hold weights of these sizes; MODEL_TOO_LARGE where the budget has no room for them in any form.

    CPUs without matrix units compute float32 faster than any 16-bit format (docs/adr/0005-a-decode-loop-of-our-own.md),
    so weights are widened there if that fits.
    """
    stored = sum(dtype_bytes.values())
    slow = sum(dtype_bytes.get(name, 0) for name in HALVES if not (fast_bfloat16 and name == "BF16"))
    if slow and stored + slow <= budget_bytes:
        return Placement(widened=True, size_bytes=stored + slow)
    if stored > budget_bytes:
        raise too_large(stored, budget_bytes)
    return Placement(widened=False, size_bytes=stored)


def too_large(size_bytes: int, budget_bytes: int) -> ResourceExhausted:
    return ResourceExhausted(
        "MODEL_TOO_LARGE",
        f"the model takes {size_bytes} bytes of memory and this worker has {budget_bytes} for models: "
        "publish a smaller form of it, or give the worker more (ZOO_MEMORY_BYTES)",
        metadata={"size_bytes": str(size_bytes), "budget_bytes": str(budget_bytes)},
    )


def has_fast_bfloat16(cpu_info: Path = CPU_INFO) -> bool:
    """Whether this machine's CPU multiplies bfloat16 matrices in a unit of its own (AMX)."""
    try:
        return "amx_bf16" in cpu_info.read_text()
    except OSError:
        return False
