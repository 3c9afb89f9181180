"""How many watches of the log one subject holds, so that none takes up all the calls that a server serves at once.

Counted by each replica for itself: what is bounded is what one replica carries.
"""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from modelzoo.errors import ResourceExhausted

__all__ = ["WATCHES_MOST", "Watches"]

# A tenth of the calls that a server takes at once. Processes that share a subject share it.
WATCHES_MOST = 200
# Longer than a server needs to notice that a watcher has gone, so that who comes back finds its place free.
RETRY_AFTER_S = 5.0


class Watches:
    """At most `most` of each subject."""

    def __init__(self, most: int = WATCHES_MOST) -> None:
        self._most = most
        self._held: Counter[str] = Counter()

    @contextmanager
    def enter(self, subject: str) -> Generator[None]:
        """Hold one for the length of the block. Raises WATCHES_TOO_MANY."""
        if self._held[subject] >= self._most:
            raise ResourceExhausted(
                "WATCHES_TOO_MANY",
                f"'{subject}' watches {self._most} times already: end a watch, or follow all models with one",
                metadata={"limit": str(self._most)},
                retry_after_s=RETRY_AFTER_S,
            )
        self._held[subject] += 1
        try:
            yield
        finally:
            self._held[subject] -= 1
            if not self._held[subject]:
                del self._held[subject]
