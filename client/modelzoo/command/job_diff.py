"""Two jobs side by side."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelzoo.command.job_text import duration_text, job_seconds, number_text, spec_rows

if TYPE_CHECKING:
    from modelzoo.training_records import Job

__all__ = ["Row", "diff_jobs"]

NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Row:
    """Something about both jobs, in words; `-` where one lacks it."""

    name: str
    a: str
    b: str
    differs: bool


def diff_jobs(a: "Job", b: "Job") -> list[Row]:
    """What they were told, then what came of it, in the order in which `zoo jobs show` has it."""
    sides = [{**dict(spec_rows(job)), **_outcome(job)} for job in (a, b)]
    names = list(dict.fromkeys([*sides[0], *sides[1]]))
    pairs = [(name, sides[0].get(name, NOTHING), sides[1].get(name, NOTHING)) for name in names]
    return [Row(name, left, right, left != right) for name, left, right in pairs]


def _outcome(job: "Job") -> dict[str, str]:
    measured: dict[str, str] = {}
    for each in job.measured:
        where = f"{each.metric} ({each.split})" if each.split else each.metric
        measured[f"{where} before"] = number_text(each.before)
        measured[where] = number_text(each.after)
    return {
        "state": f"{job.state} {job.reason}".strip(),
        "steps done": f"{job.progress.step:,}",
        "loss": number_text(job.progress.loss),
        **measured,
        "took": duration_text(job_seconds(job)),
        "host": job.host or NOTHING,
        "result": job.result or NOTHING,
    }
