"""How much a model reads at once."""

from typing import Any

from modelzoo.errors import InvalidArgument
from modelzoo.tasks.tokenizing import Tokenizing

__all__ = ["check_context", "context_of"]


def context_of(config: Any, tokenizing: Tokenizing) -> int:
    """Tokens that the model can look back on. Beyond a sliding window it could go on, but not on what came before."""
    text = config.get_text_config()
    positions: int | None = getattr(text, "max_position_embeddings", None)
    window: int | None = getattr(text, "sliding_window", None)
    return min(positions or tokenizing.longest, window or positions or tokenizing.longest)


def check_context(tokens: int, context: int, field: str) -> None:
    """Raise CONTEXT_EXCEEDED, naming both numbers, where the input is longer than the model reads."""
    if tokens > context:
        raise InvalidArgument(
            "CONTEXT_EXCEEDED",
            f"{field} has {tokens} tokens and the model reads {context} at most: split it",
            metadata={"tokens": str(tokens), "context": str(context)},
            field=field,
        )
