"""Ends a text before a stop text would appear in it, however the pieces fall."""

from collections.abc import Sequence

__all__ = ["StopFilter"]


class StopFilter:
    """Passes text through until one of `stops` begins. What may become one is held back; nothing of one is passed."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def push(self, piece: str) -> str:
        """What may be said now. After a stop, `stopped` is True and nothing is said any more."""
        if self.stopped or not piece:
            return ""
        text = self._held + piece
        starts = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        if starts:
            self.stopped = True
            self._held = ""
            return text[: min(starts)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """What was held back, when the text ends otherwise."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` with which `stop` begins, short of the whole."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
