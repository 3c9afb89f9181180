"""Two photographs and a recorded voice to try models on, taken from packages, each with its licence."""

import importlib.util
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelzoo.errors import Unavailable
from zoo_starters.debs import Deb, extract

__all__ = ["ALSA_UTILS", "SAMPLES", "VOICES", "Sample", "copy_samples", "photograph"]

ALSA_UTILS = Deb(
    "alsa-utils",
    "1.2.8-1",
    "fb24eb1a318228b974efbef726190dd90c6106a208814a3ee8f5d69b91ee0ba4",
    "pool/main/a/alsa-utils/alsa-utils_1.2.8-1_amd64.deb",
)
VOICES = "usr/share/sounds/alsa"
VOICE = "Front_Center.wav"
TERMS = "LICENCES.md"


@dataclass(frozen=True, slots=True)
class Sample:
    """`origin` is where the file was published, and `carrier` the package that it is taken from."""

    name: str
    shows: str
    licence: str
    origin: str
    carrier: str


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
)


def copy_samples(packages: Path, folder: Path) -> Sequence[Path]:
    """Copy the samples into `folder` beside a file of their licences, and return their paths in the order of SAMPLES.

    `packages` is where the voice's package is fetched to. Raises Unavailable where a package is out of reach.
    """
    photographs = {sample.name: photograph(sample.name) for sample in SAMPLES if sample.carrier != ALSA_UTILS.package}
    voice = ALSA_UTILS.fetch(packages)
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in photographs.items():
        shutil.copyfile(source, folder / name)
    extract(voice, folder, {f"{VOICES}/{VOICE}": VOICE})
    (folder / TERMS).write_text("".join(map(_terms, SAMPLES)))
    return [folder / sample.name for sample in SAMPLES]


def photograph(name: str) -> Path:
    """Where scikit-learn keeps its photograph of this name. Raises Unavailable where it is not installed."""
    # find_spec does not run the package, which takes a second to import.
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(
            "DEPENDENCY_UNAVAILABLE",
            "the photographs come with scikit-learn, which is not installed: pip install 'modelzoo[starters]'",
        )
    return Path(spec.submodule_search_locations[0]) / "datasets" / "images" / name


def _terms(sample: Sample) -> str:
    return (
        f"- `{sample.name}`, {sample.shows}: {sample.licence}, from {sample.origin}, "
        f"as the package {sample.carrier} has it.\n"
    )
