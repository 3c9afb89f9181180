"""What can be chosen of every recipe. A recipe's own settings inherit these, and may set other defaults."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Precision", "Schedule", "TrainingSettings"]


class Schedule(StrEnum):
    """How the learning rate goes on after the warmup."""

    LINEAR = "linear"
    COSINE = "cosine"
    CONSTANT = "constant"


class Precision(StrEnum):
    """In which numbers is computed; weights and optimizer are float32 in both."""

    FULL = "float32"
    MIXED = "bfloat16"


class TrainingSettings(BaseModel):
    """Frozen; unknown names, infinite numbers and values of another kind are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    epochs: Annotated[float, Field(gt=0, le=100_000)] = 3.0
    """Times through the training split, where the job's budget says nothing."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 16
    """Examples of one optimizer step."""
    micro_batch_size: Annotated[int, Field(ge=0, le=65_536)] = 0
    """Examples that a process computes at once; gradients add up to a whole batch. 0: all of its share. Halved where
    memory ends."""
    learning_rate: Annotated[float, Field(gt=0, le=1_000)] = 5e-5
    """Highest step size of AdamW."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    """How much of a weight is taken off at each step, times the learning rate; biases and normalisations are spared."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the steps in which the learning rate rises from 0."""
    schedule: Schedule = Schedule.LINEAR
    """How the learning rate goes on after the warmup: falls to 0 along a line or half a cosine, or stays."""
    gradient_norm: Annotated[float, Field(ge=0, le=1_000_000)] = 1.0
    """Longer gradients are shortened to it. 0: they are not."""
    precision: Precision = Precision.FULL
    """In which numbers is computed. Weights and optimizer are float32 in any case."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third more time."""
    evaluation_steps: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    """Steps between two evaluations on the validation split. 0: one at the end of each epoch."""
    checkpoint_steps: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    """Steps between two checkpoints. 0: one every two minutes."""
