"""The README's two promises, and those of the tutorials: the main job gives the right answers, and every command of a
tour works as printed."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BLOCK = re.compile(r"^```(sh|python) tour\n(.*?)^```", re.DOTALL | re.MULTILINE)
# Fetching and converting the starters is most of it; they stay in the user's cache for the next run.
TIMEOUT_S = 600
# By how much a trained model has to be better than the commonest label, decided before anything was measured.
MARGIN = 0.5
MEASURED = re.compile(r"^accuracy +[\d.]+ +([\d.]+) +([\d.]+) +test +40$", re.MULTILINE)
TEXT_MARGIN = 0.4
STAND_INS = "zoo starters publish --all --quick"

pytestmark = pytest.mark.timeout(2 * TIMEOUT_S)


@dataclass(frozen=True)
class Home:
    """A user's home that has seen no zoo, but for the cache of fetched packages and weights."""

    environment: dict[str, str]
    folder: Path

    def run(self, *argv: str) -> str:
        """What the command printed; AssertionError with all of it where it fails."""
        done = subprocess.run(
            argv,
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("home")
    (folder / ".venv").symlink_to(Path(sys.prefix))
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PIP_INDEX_URL") if name in os.environ}
    own = {"XDG_DATA_HOME": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config"), "HF_HUB_OFFLINE": "1"}
    return Home({**kept, **own}, folder)


def test_the_main_job_answers_compares_classifies_and_writes_down(home: Home) -> None:
    said = home.run(sys.executable, "-m", "zoo_local.first_light", "--once")
    assert "Paris" in said
    assert "Most alike: 1 and 2" in said
    assert "palace" in said
    assert "Front, center." in said


def walked(home: Home, page: str) -> str:
    """What all the commands of a page printed, one after the other."""
    script = ["set -euo pipefail", "trap 'zoo down >/dev/null 2>&1 || true' EXIT"]
    for language, code in BLOCK.findall((ROOT / page).read_text()):
        if "zoo/bert-mini-wordnet" in code and STAND_INS not in script:
            # What `make starters` would have left, but for its half hour of training.
            script.append(STAND_INS)
        # The reader's Ctrl-C is ours: head closes its pipe.
        script.append(
            f"set +o pipefail\n{code}\nset -o pipefail" if language == "sh" else f"python - <<'EOF'\n{code}EOF"
        )
    return home.run("bash", "-c", "\n".join(script))


def test_every_command_of_the_tour_works(home: Home) -> None:
    said = walked(home, "README.md")
    for promised in (
        "Paris",
        "(2, 384)",
        "torch.Size([1, 3, 384])",
        "zoo.inference.v1.InferenceService",
        "demo/sentences",
        "palace",
        "Front, center.",
        "torch.Size([1, 10])",
        '"openapi": "3.1.0"',
    ):
        assert promised in said


def test_every_command_from_a_directory_to_a_signed_second_version_works(home: Home) -> None:
    said = walked(home, "docs/tutorials/second-version.md")
    for promised in (
        "encoder.layer.5.output.dense.weight",
        "1 tensor differs",
        "recall_at_10 of shop-queries",
        "SIGNATURE_REQUIRED",
        "shop/sentences@prod",
    ):
        assert promised in said


def test_every_command_from_a_module_to_a_job_by_a_recipe_of_ones_own_works(home: Home) -> None:
    said = walked(home, "docs/tutorials/your-own-recipe.md")
    for promised in (
        "Texts to labels, less sure of them",
        "label's certainty",
        "garden/plants@1",
        "tree",
        "smoothing",
        "PARAMETER_INVALID",
    ):
        assert promised.casefold() in said.casefold()


def test_an_image_model_learns_new_classes_as_the_tutorial_says(home: Home) -> None:
    said = walked(home, "docs/tutorials/new-image-classes.md")
    for promised in (
        "recipe    image-classification",
        "train/7/notes.png is not a picture that can be read: it is plain text",
        "school/digits@1",
        "school/digits-data@1",
        "zoo/efficientnet-lite0@1",
    ):
        assert promised in said
    measured = MEASURED.search(said)
    assert measured, said
    after, majority = map(float, measured.groups())
    assert after >= majority + MARGIN


def test_a_text_classifier_is_trained_measured_and_used(home: Home) -> None:
    said = walked(home, "docs/tutorials/text-classifier.md")
    for promised in (
        "recipe    text-classification",
        "study/topics@1",
        "zoo/all-minilm-l6-v2@1",
        "study/topics-data@1",
        "fine-tuned",
        "SUCCEEDED",
        "study/topics@2 READY",
    ):
        assert promised in said
    table = re.search(r"^accuracy +(\S+) +(\S+) +(\S+) +test +120\b", said, re.MULTILINE)
    assert table is not None, said
    before, after, majority = map(float, table.groups())
    assert after > majority + TEXT_MARGIN
    assert after > before
