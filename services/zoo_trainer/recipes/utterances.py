"""Rows of speech: which of them can be learned from, and how well a model writes them down."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from modelzoo.errors import InvalidArgument
from modelzoo.tasks.transcription import RATE_HZ, Transcriber, joined
from zoo_trainer.evaluation import Measurement
from zoo_trainer.modes import evaluating
from zoo_trainer.recipes.columns import column_of, text_of
from zoo_trainer.recipes.learner import Start
from zoo_trainer.recipes.sounds import SOUNDS, seconds_of, sound_of
from zoo_trainer.recipes.speech_recognition import TEXTS, SpeechRecognitionSettings
from zoo_trainer.rows import Row, Rows
from zoo_trainer.stopping import Orders
from zoo_trainer.word_errors import Spoken, measure_transcripts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Utterances"]

FAULTS_SHOWN = 20


class Utterances:
    """The dataset's rows, after a look at every sound of those to train with and to measure on.

    Raises COLUMN_MISSING, and DATASET_UNSUITABLE, which names rows by their numbers, where sounds cannot be decoded.
    """

    def __init__(self, start: Start[SpeechRecognitionSettings]) -> None:
        self._settings = start.settings
        self._start = start
        self._root = start.train.root
        self._sound = column_of(start.train[0], SOUNDS)
        self._text = column_of(start.train[0], TEXTS)
        self._seconds: dict[int, float] = {}
        self._measure_lengths()

    def sound(self, row: Row) -> "NDArray[np.float32]":
        return sound_of(row, self._sound, self._root, RATE_HZ)

    def text(self, row: Row) -> str:
        return " ".join(text_of(row, self._text).split())

    def fitting(self, longest_s: float, fits: Callable[[str, float], bool]) -> Rows:
        """The rows to train with whose sounds are no longer and whose texts fit, told by text and seconds.

        What is left out, of those to measure on, too, is noted. DATASET_UNSUITABLE where nothing is left of either.
        """
        self._longest_s = longest_s
        train = self._left("train", self._start.train, fits)
        self._left("the rows to measure on", self._start.held_out, lambda text, seconds: True)
        return train

    def measure(
        self,
        model: Any,
        transcriber: Transcriber,
        rows: Rows,
        batch_size: int,
        orders: Orders,
        loss: "Callable[[Sequence[tuple[NDArray[np.float32], str]]], tuple[float, int]]",
    ) -> Measurement:
        """What the model writes for the rows that are not too long, as it is served. `loss` gives the sum of a batch's
        losses and of how many tokens they are. Raises Stopped."""
        spoken: list[Spoken] = []
        losses, tokens = 0.0, 0
        with evaluating(model):
            for start in range(0, len(rows), batch_size):
                orders.check()
                numbers = range(start, min(start + batch_size, len(rows)))
                heard = {number: self.sound(rows[number]) for number in numbers}
                heard = {number: sound for number, sound in heard.items() if len(sound) / RATE_HZ <= self._longest_s}
                if not heard:
                    continue
                texts = {number: self.text(rows[number]) for number in heard}
                added = loss([(sound, texts[number]) for number, sound in heard.items()])
                losses, tokens = losses + added[0], tokens + added[1]
                windows = {number: transcriber.prepare(sound) for number, sound in heard.items()}
                every = [window for each in windows.values() for window in each]
                written = iter(transcriber.compute(every) if every else ())
                for number, each in windows.items():
                    said = joined([next(written) for _ in each]).text
                    spoken.append(Spoken(number + 1, texts[number], said))
        if not spoken:
            raise _unsuitable(f"all rows to measure on are longer than {self._longest_s:g} seconds")
        return measure_transcripts(spoken, losses / max(1, tokens), normalised=self._settings.normalise)

    def _measure_lengths(self) -> None:
        faults: list[str] = []
        count = 0
        for name, rows in (("train", self._start.train), ("the rows to measure on", self._start.held_out)):
            for number in range(len(rows)):
                try:
                    self._seconds[rows.digest(number)] = seconds_of(rows[number], self._sound, self._root)
                except InvalidArgument as error:
                    count += 1
                    if count <= FAULTS_SHOWN:
                        faults.append(f"row {number + 1} of {name}: {error.message}")
        if count:
            more = f"; and {count - len(faults):,} more" if count > len(faults) else ""
            raise _unsuitable(f"{count:,} of its sounds cannot be used: {'; '.join(faults)}{more}")

    def _left(self, name: str, rows: Rows, fits: Callable[[str, float], bool]) -> Rows:
        left_out: dict[int, int] = {}
        for number in range(len(rows)):
            digest = rows.digest(number)
            seconds = self._seconds[digest]
            if seconds > self._longest_s or not fits(self.text(rows[number]), seconds):
                left_out[number + 1] = digest
        if len(left_out) == len(rows):
            raise _unsuitable(
                f"no row of {name} is short enough: sounds may last {self._longest_s:g} seconds (max_seconds), and "
                "texts be as long as the model can write for them"
            )
        if left_out:
            numbers = ", ".join(map(str, list(left_out)[:FAULTS_SHOWN])) + (
                ", ..." if len(left_out) > FAULTS_SHOWN else ""
            )
            self._start.notes.append(
                f"{len(left_out):,} of {len(rows):,} rows of {name} are too long, or their texts, and were left out: "
                f"{numbers}."
            )
        digests = set(left_out.values())
        return rows.where(lambda digest: digest not in digests)


def _unsuitable(why: str) -> InvalidArgument:
    return InvalidArgument("DATASET_UNSUITABLE", f"No speech can be learned from this dataset: {why}.")
