"""What tasks answer, in the words of the protos (zoo.inference.v1)."""

from dataclasses import dataclass

__all__ = ["Box", "Detected", "Detection", "Entity", "LabelScore", "Segment", "Transcript"]


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A label and how probable the model finds it, 0 to 1; `index` is its position among the model's outputs."""

    label: str
    score: float
    index: int


@dataclass(frozen=True, slots=True)
class Box:
    """Edges in pixels from the picture's upper left corner, within the picture."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float


@dataclass(frozen=True, slots=True)
class Detection:
    """An object: what it is, and where."""

    label: LabelScore
    box: Box


@dataclass(frozen=True, slots=True)
class Detected:
    """Objects of one picture, the highest score first, and the size in pixels of the picture that they lie in."""

    detections: tuple[Detection, ...]
    width: int
    height: int

    def best(self, threshold: float, most: int) -> "Detected":
        """At most so many of those that score at least the threshold."""
        kept = tuple(found for found in self.detections if found.label.score >= threshold)
        return Detected(kept[:most], self.width, self.height)


@dataclass(frozen=True, slots=True)
class Entity:
    """Words of a text that are something: what, which, and where they begin and end, in characters. `score`, 0 to 1, is
    how probable the model finds their labels, in the mean of the words."""

    label: str
    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a transcript; times in seconds from the start of the sound."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said: the whole, and in parts. `tokens` counts what the model wrote."""

    text: str
    segments: tuple[Segment, ...]
    tokens: int
