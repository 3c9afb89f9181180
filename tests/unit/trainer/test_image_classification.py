"""A classifier of pictures learns new labels: what of it changes, what rests, what is refused."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from modelzoo.errors import ZooError
from modelzoo.loading import load_directory
from support.tiny_models import tiny_sentence_encoder
from support.tiny_pictures import LAYOUTS, OWN_LABELS, picture, shades, tiny_network
from support.training import Attempt, attempt, lease
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo_trainer.recipes import Learner, Start, find_recipe
from zoo_trainer.recipes.augmentation import Flips, Strength, augmentation_of
from zoo_trainer.rows import store_rows

RECIPE = "image-classification"
LAYERS = {"alexnet": 5, "resnet": 3, "vit": 3, "efficientnet-lite": 3}
# The last layer, and what comes after it.
ABOVE = {
    "alexnet": ("alexnet.convolutions.4.", "classifier."),
    "resnet": ("resnet.encoder.stages.2.", "classifier."),
    "vit": ("vit.layers.2.", "vit.layernorm.", "classifier."),
    "efficientnet-lite": ("efficientnet_lite.blocks.2.", "efficientnet_lite.head.", "classifier."),
}
HEADS = {
    "alexnet": "classifier.6.",
    "resnet": "classifier.1.",
    "vit": "classifier.",
    "efficientnet-lite": "classifier.",
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return {layout: tiny_network(layout, tmp_path_factory.mktemp(layout)) for layout in LAYOUTS}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shades(tmp_path_factory.mktemp("data"), 24, 12)


def trained(folder: Path, base: Path, data: Path, settings: Mapping[str, Any], **budget: Any) -> Attempt:
    return attempt(folder, base, data, lease(RECIPE, {"batch_size": 8, **settings}, **budget))


def started(base: Path, rows: list[dict[str, Any]], root: Path, **settings: Any) -> Learner:
    recipe = find_recipe(RECIPE)
    stored = store_rows(rows, root / f"{len(list(root.iterdir()))}.jsonl", root)
    torch.manual_seed(0)
    return recipe.start(Start(base, "zoo/base@1", stored, stored, recipe.read_settings(settings), 1))


def some_rows(*labels: str) -> list[dict[str, Any]]:
    return [{"image": picture("red", number), "label": label} for number, label in enumerate(labels * 3)]


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def changed_by(base: Path, result: Path) -> set[str]:
    before, after = tensors_of(base), tensors_of(result)
    assert before.keys() == after.keys()
    return {name for name, each in before.items() if each.shape != after[name].shape or not each.equal(after[name])}


def test_a_trained_classifier_beats_the_majority_and_says_where_it_errs(
    bases: Mapping[str, Path], tmp_path: Path
) -> None:
    done = trained(tmp_path, bases["resnet"], shades(tmp_path / "data", 48, 24), {"learning_rate": 0.003}, epochs=5)
    accuracy = done.measured("accuracy")
    assert accuracy.after > accuracy.majority + 0.4
    assert accuracy.majority == pytest.approx(1 / 3)
    tables = json.loads((done.result / "evaluation.json").read_text())["after"]
    assert [each["label"] for each in tables["classes"]] == ["blue", "green", "red"]
    assert sum(map(sum, tables["confusion"])) == 24
    assert "A new layer of outputs for 3 labels was drawn." in done.logs
    assert "| blue | 8 |" in (done.result / "README.md").read_text()
    # What is served afterwards is what was measured: labels, processor, running averages.
    assert load_directory(done.result).config.id2label == {0: "blue", 1: "green", 2: "red"}
    assert (done.result / "preprocessor_config.json").exists()
    assert {name for name in changed_by(bases["resnet"], done.result) if "running_mean" in name}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_linear_probe_changes_the_layer_of_outputs_alone(
    bases: Mapping[str, Path], data: Path, tmp_path: Path, layout: str
) -> None:
    done = trained(tmp_path, bases[layout], data, {"freeze": "body", "learning_rate": 0.01}, steps=2)
    assert changed_by(bases[layout], done.result) == {f"{HEADS[layout]}{part}" for part in ("weight", "bias")}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_lowest_layers_rest_and_all_before_them(bases: Mapping[str, Path], tmp_path: Path, layout: str) -> None:
    base, layers = bases[layout], LAYERS[layout]
    model = started(base, some_rows("cat", "dog"), tmp_path, frozen_layers=layers - 1).model
    learned = {name for name, each in model.named_parameters() if each.requires_grad}
    assert learned == {name for name, _ in model.named_parameters() if name.startswith(ABOVE[layout])}
    with pytest.raises(ZooError, match=f"the base has {layers} of them") as caught:
        started(base, some_rows("cat", "dog"), tmp_path, frozen_layers=layers + 1)
    assert caught.value.reason == "PARAMETER_INVALID"


def test_running_averages_of_what_rests_stay_and_of_what_learns_move(
    bases: Mapping[str, Path], data: Path, tmp_path: Path
) -> None:
    done = trained(tmp_path, bases["resnet"], data, {"frozen_layers": 2, "learning_rate": 0.003}, steps=2)
    moved = {name for name in changed_by(bases["resnet"], done.result) if "running" in name}
    assert moved
    assert all(name.startswith("resnet.encoder.stages.2.") for name in moved)


def test_outputs_for_the_same_labels_are_trained_on_unless_new_ones_are_wanted(
    bases: Mapping[str, Path], tmp_path: Path
) -> None:
    base, rows = bases["vit"], some_rows(*OWN_LABELS[:2])
    own = tensors_of(base)["classifier.weight"]
    kept = started(base, rows, tmp_path).model.get_submodule("classifier").weight
    assert kept.equal(own)
    assert not started(base, rows, tmp_path, new_head=True).model.get_submodule("classifier").weight[0].equal(own[0])
    # As many labels as the base has, but others: nothing of its outputs is kept, all below them is.
    other = started(base, some_rows(*"wxyz"), tmp_path).model
    assert other.get_submodule("classifier").weight.shape == own.shape
    assert not other.get_submodule("classifier").weight.equal(own)
    assert other.get_parameter("vit.layernorm.weight").equal(tensors_of(base)["vit.layernorm.weight"])


def test_one_example_left_over_teaches_a_network_with_batch_norms(bases: Mapping[str, Path], tmp_path: Path) -> None:
    data = shades(tmp_path / "data", 9, 3)
    done = trained(tmp_path, bases["resnet"], data, {"batch_size": 8}, epochs=1)
    assert done.release.outcome == pb.OUTCOME_TRAINED


def test_rare_labels_weigh_more_where_that_is_wanted(bases: Mapping[str, Path], tmp_path: Path) -> None:
    rows = some_rows("a", "a", "a", "b")
    plain, weighed = (started(bases["vit"], rows, tmp_path, class_weights=each) for each in (False, True))
    batch = plain.collate([plain.encode(rows[3], torch.Generator())])
    # Of "a" there are nine and of "b" three, on average six.
    assert weighed.loss(weighed.model, batch).item() == pytest.approx(2 * plain.loss(plain.model, batch).item())


def test_augmentation_follows_from_its_generator_alone(bases: Mapping[str, Path], tmp_path: Path) -> None:
    rows = some_rows("cat", "dog")
    strong = started(bases["vit"], rows, tmp_path, augmentation="strong")

    def encoded(learner: Learner, seed: int) -> torch.Tensor:
        torch.rand(1)  # what else is drawn must not matter
        return learner.encode(rows[0], torch.Generator().manual_seed(seed)).pixels

    assert encoded(strong, 1).equal(encoded(strong, 1))
    assert not encoded(strong, 1).equal(encoded(strong, 2))
    none = started(bases["vit"], rows, tmp_path, augmentation="none")
    assert encoded(none, 1).equal(encoded(none, 2))


def test_pictures_are_mirrored_unless_labels_are_signs_or_it_is_said_otherwise() -> None:
    def flips(flips: Flips, labels: list[str]) -> bool:
        found = augmentation_of(Strength.LIGHT, flips, labels)
        assert found is not None
        return found.flips

    assert flips(Flips.AUTO, ["cat", "7"])
    assert not flips(Flips.AUTO, ["b", "d", "7"])
    assert flips(Flips.ON, ["b"])
    assert not flips(Flips.OFF, ["cat"])
    sides = Image.new("RGB", (40, 20))
    sides.paste((255, 255, 255), (0, 0, 20, 20))
    mirror = dataclasses.replace(augmentation_of(Strength.LIGHT, Flips.ON, ["cat"]), least_area=1, stretch=1, colour=0)
    seen = {mirror.apply(sides, torch.Generator().manual_seed(seed)).getpixel((1, 1)) for seed in range(12)}
    assert seen == {(0, 0, 0), (255, 255, 255)}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (some_rows("cat"), "all rows have the same label, 'cat'"),
        ([*some_rows("cat", "dog"), {"image": picture("red", 9), "label": None}], "a row has no label"),
        ([*some_rows("cat", "dog"), {"image": b"<svg xmlns='x'/>", "label": "cat"}], "an SVG drawing"),
        ([*some_rows("cat", "dog"), {"image": None, "label": "cat"}], "`image` of a row is no picture"),
        ([{"img": picture("red", 1), "text": "cat"}], "needs a column called label or category or class"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_data_that_teach_no_classifier_are_refused_before_training(
    bases: Mapping[str, Path], tmp_path: Path, rows: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(ZooError, match=words) as caught:
        started(bases["vit"], rows, tmp_path)
    assert caught.value.reason in ("DATASET_UNSUITABLE", "COLUMN_MISSING")


def test_a_base_that_sees_no_pictures_is_refused(bases: Mapping[str, Path], tmp_path: Path) -> None:
    rows = some_rows("cat", "dog")
    with pytest.raises(ZooError, match="there is no network for this task around a bert") as caught:
        started(tiny_sentence_encoder(tmp_path / "text"), rows, tmp_path)
    assert caught.value.reason == "BASE_UNSUITABLE"
    bare = tiny_network("vit", tmp_path / "bare")
    (bare / "preprocessor_config.json").unlink()
    with pytest.raises(ZooError, match=r"preprocessor_config\.json"):
        started(bare, rows, tmp_path)
    (bare / "preprocessor_config.json").write_text(
        '{"image_processor_type": "ViTImageProcessor", "size": {"height": 9, "width": 9}}'
    )
    with pytest.raises(ZooError, match="fails over plain pictures"):
        started(bare, rows, tmp_path)
