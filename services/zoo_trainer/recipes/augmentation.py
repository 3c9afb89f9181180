"""Pictures a little different each time they are learned from. All that is random comes from the generator passed."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

__all__ = ["Augmentation", "Flips", "Strength", "augmentation_of"]

HARMED_LABEL_CHARACTERS = 1


class Strength(StrEnum):
    """How different."""

    NONE = "none"
    LIGHT = "light"
    STRONG = "strong"


class Flips(StrEnum):
    """Whether left and right are exchanged."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Augmentation:
    """A crop keeps at least `least_area` of the picture's area, from 0 to 1, and becomes at most `stretch` times as
    wide or as narrow, against its height, as the picture is; brightness, contrast and saturation are multiplied by at
    most 1 + `colour` and at least 1 - `colour`. `flips`: every other picture is mirrored."""

    least_area: float
    stretch: float
    colour: float
    flips: bool

    def apply(self, picture: "Image", generator: "torch.Generator") -> "Image":
        """Another RGB picture; the same for a generator of the same state."""
        import torch
        from PIL import ImageEnhance
        from PIL.Image import Transpose

        # All at once: what is drawn does not depend on the picture.
        drawn = cast(list[float], cast(Any, torch.rand(8, generator=generator, dtype=torch.float64)).tolist())
        area, stretch, left, top, flip, *colours = drawn
        changed = picture.crop(self._box(*picture.size, area, stretch, left, top))
        if self.flips and flip < 0.5:
            changed = changed.transpose(Transpose.FLIP_LEFT_RIGHT)
        for enhancer, each in zip(
            (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), colours, strict=True
        ):
            changed = enhancer(changed).enhance(1 + self.colour * (2 * each - 1))
        return changed

    def _box(
        self, width: int, height: int, area: float, stretch: float, left: float, top: float
    ) -> tuple[int, int, int, int]:
        kept = self.least_area + (1 - self.least_area) * area
        ratio = self.stretch ** (2 * stretch - 1)
        wide = max(1, min(width, round(width * (kept * ratio) ** 0.5)))
        high = max(1, min(height, round(height * (kept / ratio) ** 0.5)))
        x, y = round((width - wide) * left), round((height - high) * top)
        return x, y, x + wide, y + high


def augmentation_of(strength: Strength, flips: Flips, labels: "list[str]") -> Augmentation | None:
    """None where pictures stay as they are. `auto` flips, unless all labels are single characters: pictures of letters
    and digits mean something else in a mirror."""
    signs = all(len(label) <= HARMED_LABEL_CHARACTERS for label in labels)
    mirrored = flips is Flips.ON or (flips is Flips.AUTO and not signs)
    match strength:
        case Strength.NONE:
            return None
        case Strength.LIGHT:
            return Augmentation(least_area=0.7, stretch=1.1, colour=0.1, flips=mirrored)
        case Strength.STRONG:
            return Augmentation(least_area=0.35, stretch=4 / 3, colour=0.4, flips=mirrored)
