"""The few things in which recipes differ: what the loop asks of a recipe once it has a base and rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, runtime_checkable

from zoo_trainer.rows import Rows
from zoo_trainer.stopping import Orders

if TYPE_CHECKING:
    import torch
    from torch import nn

    from zoo_trainer.evaluation import Measurement
else:
    Measurement = Any

__all__ = ["HasSizes", "Learner", "Measurement", "Start"]

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Start(Generic[S]):
    """What a recipe starts from: the base's files, the rows to learn from, the settings, the seed.

    torch's own generator is seeded before a recipe is started, so that the same start draws the same new layers.
    """

    base: Path
    base_reference: str
    train: Rows
    held_out: Rows
    settings: S
    seed: int
    notes: list[str] = field(default_factory=list[str])
    """Sentences for people about what was decided or passed over; they get into the events and the card."""
    validation: Rows | None = None
    """What is looked at meanwhile, if anything is."""

    @property
    def measured(self) -> tuple[Rows, ...]:
        """All rows that are never trained on."""
        return (self.held_out,) if self.validation is None else (self.held_out, self.validation)


class Learner(Protocol):
    """A model that learns from rows.

    Raises BASE_UNSUITABLE and DATASET_UNSUITABLE when it is made, with what to do.
    """

    model: "nn.Module"
    """In float32, with `requires_grad` at what is trained. What no gradient reaches stays in evaluation mode."""
    rows: Sequence[Any]
    """What is trained on, in an order that depends on the data alone."""
    is_adapter: bool
    """Whether `save` leaves an adapter of the base."""

    def encode(self, row: Any, generator: "torch.Generator") -> Any:
        """One example. What is drawn at random comes from the generator alone, which is another in each epoch."""
        ...

    def collate(self, examples: Sequence[Any]) -> "dict[str, Any]":
        """Examples as one batch."""
        ...

    def items(self, batch: Mapping[str, Any]) -> int:
        """How much the batch has to learn from, over which losses are averaged: rows, or tokens."""
        ...

    def loss(self, model: "nn.Module", batch: Mapping[str, Any]) -> "torch.Tensor":
        """The sum of the losses of the batch's items, a scalar. `model` is this model, or what runs it."""
        ...

    def measure(self, rows: Rows, batch_size: int, orders: Orders) -> "Measurement":
        """How good the model is on rows. Draws nothing at random, and leaves modes as they were. Raises Stopped."""
        ...

    def save(self, folder: Path) -> None:
        """Leave what is to be published in the empty folder: safetensors, config, tokenizer; of an adapter, it alone.

        The model is what would be loaded from there afterwards, to the last bit, in float32.
        """
        ...


@runtime_checkable
class HasSizes(Protocol):
    """What a Learner may have besides."""

    sizes: Sequence[int] | None
    """Of each of `rows`, something that grows with what computing it costs: rows of like size are learned from
    together, so that little is padded. None: together are whichever the draw brings together."""
