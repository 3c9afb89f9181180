"""Keys and values of several requests in one block of memory per layer, as a cache that transformers' models write to.

Row r holds one request's tokens from position 0 on; positions beyond a row's length are zero. Rows are dense: when one
leaves, the last takes its place. So a step over all rows, or over any one, sees plain views and copies nothing.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

__all__ = ["KeyValues", "Pass", "mask_of", "positions_of"]

# Memory grows by whole pages of tokens, so that growing (which copies) is rare.
PAGE_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Pass:
    """What the next forward pass writes: its rows, and the position of each row's first new token."""

    first_row: int
    positions: tuple[int, ...]
    new_tokens: int

    @property
    def rows(self) -> slice:
        return slice(self.first_row, self.first_row + len(self.positions))

    @property
    def end(self) -> int:
        """One beyond the highest position that is written or read."""
        return max(self.positions) + self.new_tokens


class _Layer(CacheLayerMixin):
    """One layer's keys and values: [rows, heads, tokens, width]."""

    is_sliding = False

    def __init__(self, owner: "KeyValues") -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self._owner = owner
        self.key_store: Tensor
        self.value_store: Tensor

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        owner = self._owner
        self.key_store = _zeros_for(key_states, owner.rows_room, owner.tokens_room)
        self.value_store = _zeros_for(value_states, owner.rows_room, owner.tokens_room)
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        now = self._owner.current
        for store, new in ((self.key_store, key_states), (self.value_store, value_states)):
            if now.new_tokens == 1:
                row_numbers = torch.arange(now.first_row, now.first_row + len(now.positions))
                store[row_numbers, :, torch.tensor(now.positions)] = new[:, :, 0]
            else:
                for offset, position in enumerate(now.positions):
                    store[now.first_row + offset, :, position : position + now.new_tokens] = new[offset]
        return self.key_store[now.rows, :, : now.end], self.value_store[now.rows, :, : now.end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._owner.current.end, 0

    def get_seq_length(self) -> int:
        return self._owner.current.end - self._owner.current.new_tokens

    def get_max_length(self) -> int:
        return -1

    def resize(self) -> None:
        """Take the room that the owner has now, keeping what is there."""
        if self.is_initialized:
            owner = self._owner
            for name in ("key_store", "value_store"):
                old: Tensor = getattr(self, name)
                new = _zeros_for(old, owner.rows_room, owner.tokens_room)
                new[: old.shape[0], :, : old.shape[2]] = old
                setattr(self, name, new)


class KeyValues(Cache):
    """The memory of all requests in a batch. `lengths` has the tokens of each row."""

    def __init__(self, layer_count: int) -> None:
        self._own_layers = [_Layer(self) for _ in range(layer_count)]
        super().__init__(layers=list(self._own_layers))
        self.lengths: list[int] = []
        self.rows_room = 1
        self.tokens_room = PAGE_TOKENS
        self.current = Pass(0, (0,), 1)

    def add_row(self) -> int:
        """Make room for one more request; returns its row, which is empty."""
        self.lengths.append(0)
        if len(self.lengths) > self.rows_room:
            self._resize(self.rows_room * 2, self.tokens_room)
        return len(self.lengths) - 1

    def begin(self, first_row: int, rows: int, new_tokens: int) -> Pass:
        """Announce a forward pass of `new_tokens` for each of `rows` rows; commit it with `end`."""
        self.current = Pass(first_row, tuple(self.lengths[first_row : first_row + rows]), new_tokens)
        if self.current.end > self.tokens_room:
            pages = -(-self.current.end // PAGE_TOKENS)
            self._resize(self.rows_room, max(pages * PAGE_TOKENS, self.tokens_room * 3 // 2))
        return self.current

    def commit(self, done: Pass) -> None:
        """The tokens of a pass count from now on. A pass that is not committed leaves no trace that is read."""
        for row in range(done.rows.start, done.rows.stop):
            self.lengths[row] += done.new_tokens

    def take_over(self, other: "KeyValues") -> None:
        """Append the one row of `other`."""
        row = self.add_row()
        length = other.lengths[0]
        self.lengths[row] = length
        if length > self.tokens_room:
            self._resize(self.rows_room, -(-length // PAGE_TOKENS) * PAGE_TOKENS)
        for mine, theirs in zip(self._own_layers, other._own_layers, strict=True):
            if not mine.is_initialized:
                mine.lazy_initialization(theirs.key_store, theirs.value_store)
            mine.key_store[row, :, :length] = theirs.key_store[0, :, :length]
            mine.value_store[row, :, :length] = theirs.value_store[0, :, :length]

    def remove_row(self, row: int) -> None:
        """Let a request leave; the last row becomes row `row`."""
        last = len(self.lengths) - 1
        for layer in self._own_layers:
            if layer.is_initialized:
                for store in (layer.key_store, layer.value_store):
                    if row != last:
                        store[row] = store[last]
                    # Whatever is left is multiplied by zero when masked, and a NaN would survive that.
                    store[last].zero_()
        self.lengths[row] = self.lengths[last]
        self.lengths.pop()

    def token_bytes(self) -> int:
        """Bytes that one token of one row takes over all layers, as far as they are in use."""
        return sum(
            store[0, :, 0].numel() * store.element_size()
            for layer in self._own_layers
            if layer.is_initialized
            for store in (layer.key_store, layer.value_store)
        )

    def _resize(self, rows: int, tokens: int) -> None:
        self.rows_room, self.tokens_room = rows, tokens
        for layer in self._own_layers:
            layer.resize()


def _zeros_for(like: Tensor, rows: int, tokens: int) -> Tensor:
    return torch.zeros(rows, like.shape[1], tokens, like.shape[3], dtype=like.dtype)


def positions_of(current: Pass) -> Tensor:
    """Positions of a pass's new tokens: [rows, new_tokens]."""
    starts = torch.tensor(current.positions).unsqueeze(1)
    return starts + torch.arange(current.new_tokens)


def mask_of(positions: Tensor, end: int, dtype: torch.dtype) -> Tensor:
    """What each new token may look at, itself included, as an additive mask: [rows, 1, new_tokens, end]."""
    visible = torch.arange(end) <= positions.unsqueeze(-1)
    return torch.zeros(visible.shape, dtype=dtype).masked_fill_(~visible, float("-inf")).unsqueeze(1)
