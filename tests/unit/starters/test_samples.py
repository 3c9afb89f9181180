"""The pictures and the sound that come with `zoo starters samples`."""

from pathlib import Path

import soundfile
from PIL import Image

from zoo_starters.command import WORK
from zoo_starters.samples import SAMPLES, copy_samples

# The user's own cache, so that the voice's package is fetched once for all runs on this machine.
PACKAGES = WORK / "packages"


def test_the_samples_are_whole_and_their_licences_lie_beside_them(tmp_path: Path) -> None:
    china, flower, voice, digit, scene = copy_samples(PACKAGES, tmp_path / "samples")
    for picture in (china, flower):
        with Image.open(picture) as image:
            assert image.size == (640, 427)
            image.load()
    for made in (digit, scene):
        with Image.open(made) as image:
            assert len(set(image.convert("L").tobytes())) > 10, f"{made} shows nothing"
    sound = soundfile.info(voice)
    assert (sound.samplerate, sound.channels, round(sound.duration, 1)) == (48_000, 1, 1.4)
    terms = (tmp_path / "samples" / "LICENCES.md").read_text()
    assert all(f"`{sample.name}`" in terms and sample.licence in terms for sample in SAMPLES)


def test_copying_again_replaces_what_was_changed(tmp_path: Path) -> None:
    copied = copy_samples(PACKAGES, tmp_path / "samples")
    before = [path.read_bytes() for path in copied]
    copied[0].write_bytes(b"changed")
    assert [path.read_bytes() for path in copy_samples(PACKAGES, tmp_path / "samples")] == before
