"""What a job is to do, as it is stored: complete, with everything that it refers to by number and digest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from pydantic import TypeAdapter

__all__ = ["SPEC_JSON", "Budget", "JobSpec", "Promotion", "PromotionRule", "Source"]


class PromotionRule(Enum):
    """By the names of zoo.training.v1.PromotionRule."""

    IF_BETTER = "IF_BETTER"
    ALWAYS = "ALWAYS"


@dataclass(frozen=True, slots=True)
class Budget:
    """0 and None: no limit of that kind."""

    steps: int = 0
    epochs: float = 0.0
    wall_time: timedelta | None = None
    patience: int = 0


@dataclass(frozen=True, slots=True)
class Promotion:
    """`alias` '': none is moved."""

    alias: str = ""
    rule: PromotionRule = PromotionRule.IF_BETTER
    margin: float = 0.0


@dataclass(frozen=True, slots=True)
class JobSpec:
    """As zoo.training.v1.JobSpec. What a caller left empty is filled in by `Planner.plan`."""

    base: str
    dataset: str
    output: str
    recipe: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    resource_class: str = ""
    budget: Budget = Budget()
    max_attempts: int = 0
    deadline: datetime | None = None
    promotion: Promotion = Promotion()
    seed: int = 0
    executor: str = ""
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Source:
    """A version whose files a job reads: `namespace/name@number`, and the SHA-256 of its manifest."""

    reference: str
    manifest_digest: str

    @property
    def namespace(self) -> str:
        return self.reference.partition("/")[0]


SPEC_JSON = TypeAdapter(JobSpec)
