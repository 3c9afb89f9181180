"""What the client answers about training: plain values, the same whatever the wire looks like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

__all__ = [
    "FINAL_STATES",
    "Budget",
    "Choices",
    "Job",
    "JobCheckpoint",
    "JobEvent",
    "JobProgress",
    "JobSpec",
    "LogLine",
    "Measured",
    "MetricValues",
    "Parameter",
    "ParameterValue",
    "Promotion",
    "Recipe",
    "StateChange",
    "Sweep",
]

ParameterValue = bool | int | float | str
# The states of Job that it never leaves.
FINAL_STATES = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})


@dataclass(frozen=True, slots=True)
class Budget:
    """How far a job goes; whatever comes first. 0 and None: up to the recipe. `patience` are evaluations without a
    better metric after which it stops."""

    steps: int = 0
    epochs: float = 0.0
    wall_time_s: float | None = None
    patience: int = 0


@dataclass(frozen=True, slots=True)
class Promotion:
    """Which alias of the output moves to the result ('': none), and when: `rule` is IF_BETTER, by `margin`, or
    ALWAYS."""

    alias: str = ""
    rule: str = "IF_BETTER"
    margin: float = 0.0


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What to train, with what, how, and how far. What is empty or 0 is filled in by the zoo, and answered."""

    base: str
    dataset: str
    output: str
    recipe: str = ""
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict[str, ParameterValue])
    resource_class: str = ""
    budget: Budget = Budget()
    max_attempts: int = 0
    deadline: datetime | None = None
    promotion: Promotion = Promotion()
    seed: int = 0
    executor: str = ""
    processes: int = 0


@dataclass(frozen=True, slots=True)
class JobProgress:
    """`steps` 0 and None: not known. `loss` is the mean since the report before."""

    step: int
    steps: int
    epoch: float
    loss: float | None
    examples_per_second: float
    remaining_s: float | None


@dataclass(frozen=True, slots=True)
class JobCheckpoint:
    """A state from which training goes on exactly. `sent_bytes` of its `size_bytes` were new."""

    step: int
    manifest_digest: str
    size_bytes: int
    sent_bytes: int


@dataclass(frozen=True, slots=True)
class Measured:
    """A number measured on the held-out split by the same code before and after. None: it makes no sense, or could not
    be measured."""

    metric: str
    before: float | None
    after: float
    majority: float | None
    split: str
    items: int


@dataclass(frozen=True, slots=True)
class Job:
    """The training of one base with one dataset.

    `state` is QUEUED, RUNNING, PAUSED, SUCCEEDED, FAILED or CANCELLED, `wanted` RUN, PAUSE or CANCEL. `reason` and
    `message` say why it is in its state, where it needs one. `result` is `namespace/name@number`, or empty. `used` is
    what its training took, by name: `wall_seconds` of its steps alone, `cpu_seconds`, `memory_bytes`, ...
    """

    name: str
    spec: JobSpec
    state: str
    wanted: str
    reason: str
    message: str
    attempts: int
    progress: JobProgress
    result: str
    checkpoint: JobCheckpoint | None
    priority: int
    labels: Mapping[str, str]
    creator: str
    create_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    run_after_time: datetime | None
    retry_of: str
    sweep: str
    last_sequence: int
    etag: str
    measured: tuple[Measured, ...]
    host: str
    used: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def is_final(self) -> bool:
        """Whether it stays in its state for ever."""
        return self.state in FINAL_STATES


@dataclass(frozen=True, slots=True)
class StateChange:
    """The job went into a state, or something was decided about it, by `actor`."""

    state: str
    wanted: str
    reason: str
    message: str
    actor: str


@dataclass(frozen=True, slots=True)
class LogLine:
    """`severity` is INFO, WARNING or ERROR."""

    severity: str
    text: str


@dataclass(frozen=True, slots=True)
class MetricValues:
    """Numbers at a step."""

    progress: JobProgress
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One thing that happened to a job: that of `state`, `log`, `metrics` and `checkpoint` which is not None.
    `sequence` counts from 1 without gaps; `epoch` is the attempt, 0: none."""

    sequence: int
    time: datetime | None
    epoch: int
    state: StateChange | None = None
    log: LogLine | None = None
    metrics: MetricValues | None = None
    checkpoint: JobCheckpoint | None = None


@dataclass(frozen=True, slots=True)
class Parameter:
    """What of a recipe can be chosen. `kind` is BOOL, INTEGER, NUMBER, STRING or CHOICE; `default` None: the recipe
    decides by the base and the data."""

    name: str
    kind: str
    description: str
    default: ParameterValue | None
    minimum: float | None
    maximum: float | None
    minimum_excluded: bool
    choices: tuple[str, ...]
    maximum_excluded: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to train. `columns` are what the dataset needs, of several names that are parted by `|` one. `executors`
    and `processes` say how those who know it run its jobs: by what, and of how many processes at most;
    `single_process` why its jobs are of one, where they are."""

    name: str
    description: str
    base_tasks: tuple[str, ...]
    task: str
    parameters: tuple[Parameter, ...]
    columns: tuple[str, ...]
    metric: str
    lower_is_better: bool
    update_time: datetime | None
    resource_classes: tuple[str, ...]
    executors: tuple[str, ...]
    processes: int
    single_process: str = ""


@dataclass(frozen=True, slots=True)
class Choices:
    """What a parameter may be in a sweep: some values, or where there are none a range."""

    values: Sequence[ParameterValue] = ()
    minimum: float = 0.0
    maximum: float = 0.0
    logarithmic: bool = False


@dataclass(frozen=True, slots=True)
class Sweep:
    """Jobs that differ in parameters. `best` is the best job so far, or empty; `end_time` None: not all are final, or
    the best is not promoted yet. `method` is GRID or RANDOM. `message` says what became of the promotion."""

    name: str
    spec: JobSpec
    choices: Mapping[str, Choices]
    method: str
    trials: int
    jobs: tuple[str, ...]
    best: str
    finished: int
    creator: str
    create_time: datetime | None
    end_time: datetime | None
    message: str = ""
