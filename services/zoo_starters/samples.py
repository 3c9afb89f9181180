"""Photographs, a recorded voice and handwritten digits to try models on, from packages, each with its licence."""

import importlib.util
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modelzoo.errors import Unavailable
from zoo_starters.debs import Deb, extract
from zoo_starters.digits import held_out_digits
from zoo_starters.scenes import example

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ALSA_UTILS", "SAMPLES", "VOICES", "Sample", "copy_samples", "photograph"]

ALSA_UTILS = Deb(
    "alsa-utils",
    "1.2.8-1",
    "fb24eb1a318228b974efbef726190dd90c6106a208814a3ee8f5d69b91ee0ba4",
    "pool/main/a/alsa-utils/alsa-utils_1.2.8-1_amd64.deb",
)
VOICES = "usr/share/sounds/alsa"
VOICE = "Front_Center.wav"
SHOWN, DIGIT_SIDE = 3, 96
DIGIT, SCENE = "digit.png", "scene.png"
DIGITS_ORIGIN = "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits"
TERMS = "LICENCES.md"


@dataclass(frozen=True, slots=True)
class Sample:
    """`origin` is where the file was published, and `carrier` the package that it is taken from."""

    name: str
    shows: str
    licence: str
    origin: str
    carrier: str


PHOTOGRAPHS = ("china.jpg", "flower.jpg")
SAMPLES: Sequence[Sample] = (
    Sample(
        "china.jpg",
        "a palace under a blue sky",
        "CC BY 2.0",
        "https://www.flickr.com/photos/danielbuechele/6061409035/",
        "scikit-learn",
    ),
    Sample(
        "flower.jpg",
        "a dahlia",
        "CC BY 2.0",
        "https://www.flickr.com/photos/vultilion/6056698931/",
        "scikit-learn",
    ),
    Sample(VOICE, 'a voice that says "front center"', "GPL-2.0", "https://www.alsa-project.org", "alsa-utils"),
    Sample(DIGIT, "a handwritten three", "CC BY 4.0", DIGITS_ORIGIN, "scikit-learn"),
    Sample(SCENE, "handwritten digits on a background", "CC BY 4.0", DIGITS_ORIGIN, "scikit-learn"),
)


def copy_samples(packages: Path, folder: Path) -> Sequence[Path]:
    """Copy the samples into `folder` beside a file of their licences, and return their paths in the order of SAMPLES.

    `packages` is where the voice's package is fetched to. Raises Unavailable where a package is out of reach.
    """
    photographs = {name: photograph(name) for name in PHOTOGRAPHS}
    voice = ALSA_UTILS.fetch(packages)
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in photographs.items():
        shutil.copyfile(source, folder / name)
    extract(voice, folder, {f"{VOICES}/{VOICE}": VOICE})
    _digit().save(folder / DIGIT)
    example().save(folder / SCENE)
    (folder / TERMS).write_text("".join(map(_terms, SAMPLES)))
    return [folder / sample.name for sample in SAMPLES]


def _digit() -> "Image.Image":
    """The first three that no starter was trained on, dark on light, with paper around it."""
    from PIL import Image

    digits = held_out_digits()
    labels: list[int] = cast(Any, digits.labels).tolist()
    ink = digits.ink[labels.index(SHOWN)]
    scan = Image.fromarray((ink * 255).byte().numpy()).resize((DIGIT_SIDE, DIGIT_SIDE), Image.Resampling.BICUBIC)
    paper = Image.new("L", (DIGIT_SIDE * 3 // 2, DIGIT_SIDE * 3 // 2), 255)
    paper.paste(0, (DIGIT_SIDE // 4, DIGIT_SIDE // 4), scan)
    return paper


def photograph(name: str) -> Path:
    """Where scikit-learn keeps its photograph of this name. Raises Unavailable where it is not installed."""
    # find_spec does not run the package, which takes a second to import.
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(
            "DEPENDENCY_UNAVAILABLE",
            "the photographs come with scikit-learn, which is not installed: pip install '.[starters]' in a checkout",
        )
    return Path(spec.submodule_search_locations[0]) / "datasets" / "images" / name


def _terms(sample: Sample) -> str:
    return (
        f"- `{sample.name}`, {sample.shows}: {sample.licence}, from {sample.origin}, "
        f"as the package {sample.carrier} has it.\n"
    )
