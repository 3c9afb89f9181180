"""Detectors of each kind learn by their own loss, keep what can be kept, and are measured as they are served."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForObjectDetection as Detectors
from transformers import (
    ConditionalDetrConfig,
    DeformableDetrConfig,
    DetrConfig,
    DetrImageProcessorPil,
    PreTrainedConfig,
    ResNetConfig,
    RTDetrConfig,
    RTDetrResNetConfig,
    YolosConfig,
)

from modelzoo.errors import FailedPrecondition, InvalidArgument
from modelzoo.tasks.opening import open_task
from modelzoo.tasks.results import Box
from support.shapes import shape_scenes, tiny_dfine
from support.training import Attempt, attempt, lease
from zoo_trainer.recipes import Start, find_recipe
from zoo_trainer.rows import Rows, store_rows
from zoo_trainer.stopping import Orders

RECIPE = find_recipe("object-detection")
STEPS = 6


@pytest.fixture(scope="module")
def dfine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dfine(tmp_path_factory.mktemp("models") / "dfine")


@pytest.fixture(scope="module")
def trained(dfine: Path, tmp_path_factory: pytest.TempPathFactory) -> Attempt:
    folder = tmp_path_factory.mktemp("trained")
    torch.set_num_threads(1)
    data = shape_scenes(folder / "data", train=16, test=8)
    settings = {"freeze": "backbone", "learning_rate": 0.003, "flip": True}
    return attempt(folder, dfine, data, lease("object-detection", settings, steps=STEPS))


def rows_of(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Rows:
    """Pictures 40 pixels wide and 20 high, red on the left and blue on the right, in which these objects are."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", (40, 20), (255, 0, 0))
    picture.paste((0, 0, 255), (20, 0, 40, 20))
    picture.save(folder / "a.png")
    whole = [{"image": str(folder / "a.png"), **row} for row in rows]
    return store_rows(whole, folder / "rows.jsonl", folder)


def objects(*found: tuple[str, Sequence[float]], **more: Any) -> dict[str, Any]:
    return {"objects": [{"label": label, "box": list(box), **more} for label, box in found]}


TWO = (objects(("cat", (4, 2, 10, 10)), ("dog", (20, 5, 15, 10))), objects(("cat", (0, 0, 9, 9))))


def learner(base: Path, folder: Path, rows: Sequence[Mapping[str, Any]] = TWO, **settings: Any) -> Any:
    stored = rows_of(folder, rows)
    torch.manual_seed(0)
    return RECIPE.start(Start(base, "zoo/base@1", stored, stored, RECIPE.read_settings(settings), 0))


def test_the_result_is_measured_as_it_is_served_with_a_table_by_label(trained: Attempt, tmp_path: Path) -> None:
    assert {each.metric for each in trained.release.result.measured} == {"map", "map_50"}
    tables = json.loads((trained.result / "evaluation.json").read_text())
    assert [each["label"] for each in tables["after"]["boxes"]] == ["disc", "square"]
    assert sum(each["boxes"] for each in tables["after"]["boxes"]) >= 8
    assert "| disc | " in (trained.result / "README.md").read_text()

    again = learner(trained.result, tmp_path, [objects(("disc", (1, 1, 9, 9)), ("square", (20, 5, 15, 10)))])
    held_out = store_rows(_rows(shape_scenes(tmp_path / "data", train=16, test=8)), tmp_path / "rows", tmp_path)
    measured = again.measure(held_out, 3, Orders()).to_json()
    assert json.loads(json.dumps(measured)) == tables["after"]


def _rows(folder: Path) -> Any:
    from modelzoo.datasets import stream_rows

    return stream_rows(folder)["test"]()


def test_the_result_knows_the_dataset_by_its_categories_names_without_gaps(trained: Attempt) -> None:
    config = json.loads((trained.result / "config.json").read_text())
    assert config["id2label"] == {"0": "disc", "1": "square"}
    served = open_task(trained.result)
    found = served.compute([served.prepare(Image.new("RGB", (90, 50)))])[0]
    assert {each.label.label for each in found.detections} <= {"disc", "square"}
    assert (found.width, found.height) == (90, 50)


def test_what_was_frozen_is_the_bases_and_is_sent_no_second_time(trained: Attempt, dfine: Path) -> None:
    from safetensors.torch import load_file

    first, second = sorted(trained.result.glob("*.safetensors"))
    kept, base = load_file(first), load_file(dfine / "model.safetensors")
    assert all(torch.equal(tensor, base[name]) for name, tensor in kept.items())
    backbone = {name for name in base if ".backbone." in name}
    assert backbone
    assert backbone <= kept.keys()
    assert not backbone & load_file(second).keys()


def resnet() -> ResNetConfig:
    stages = {"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1], "layer_type": "basic"}
    return ResNetConfig(embedding_size=8, out_features=["stage3", "stage4"], **stages)


DETR: dict[str, Any] = {
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "d_model": 32,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "num_queries": 5,
}
CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "detr": lambda: DetrConfig(backbone_config=resnet(), **DETR),
    "conditional-detr": lambda: ConditionalDetrConfig(backbone_config=resnet(), **DETR),
    "deformable-detr": lambda: DeformableDetrConfig(backbone_config=resnet(), num_feature_levels=2, **DETR),
    "yolos": lambda: YolosConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=[64, 64],
        patch_size=16,
        num_detection_tokens=5,
    ),
    "rt-detr": lambda: RTDetrConfig(
        backbone_config=RTDetrResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16, 32], depths=[1, 1, 1], layer_type="basic", out_indices=[2, 3]
        ),
        encoder_in_channels=[16, 32],
        feat_strides=[8, 16],
        encode_proj_layers=[1],
        encoder_hidden_dim=32,
        decoder_in_channels=[32, 32],
        num_feature_levels=2,
        **DETR,
    ),
}


@pytest.fixture(scope="module", params=CONFIGS)
def detector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that knows COCO's "N/A" twice, as published ones do."""
    folder = tmp_path_factory.mktemp("models") / request.param
    config = CONFIGS[request.param]()
    config.id2label = dict(enumerate(("N/A", "owl", "N/A", "cat", "dog")))
    torch.manual_seed(0)
    Detectors.from_config(config).save_pretrained(folder)
    DetrImageProcessorPil(size={"shortest_edge": 48, "longest_edge": 64}).save_pretrained(folder)
    return folder


def test_detectors_of_the_family_learn_with_their_own_processors(detector: Path, tmp_path: Path) -> None:
    pictures = [*TWO, objects()]
    learning = learner(detector, tmp_path, pictures, freeze="body")
    learning.model.train()
    batch = learning.collate([learning.encode(row, torch.Generator()) for row in learning.rows])
    assert learning.items(batch) == 3
    learning.loss(learning.model, batch).backward()
    moved = {name for name, each in learning.model.named_parameters() if each.grad is not None and each.grad.any()}
    assert any("class" in name for name in moved)
    assert any("bbox" in name for name in moved)
    assert not any("backbone" in name or "encoder.layers" in name for name in moved)
    # A batch in which nothing is to be found is learned from, too.
    empty = learning.collate([learning.encode(learning.rows[2], torch.Generator())])
    assert learning.items(empty) == 1
    assert 0 < learning.loss(learning.model, empty).item() < float("inf")


def test_a_base_that_knows_the_labels_keeps_its_head_and_another_gets_one_that_has_no_more(
    detector: Path, tmp_path: Path
) -> None:
    base = Detectors.from_pretrained(detector)
    own = learner(detector, tmp_path, [objects(("dog", (4, 2, 10, 10)), ("N/A", (0, 0, 9, 9)))])
    whole = own.model.state_dict()
    assert all(torch.equal(tensor, whole[name]) for name, tensor in base.state_dict().items())
    assert [each.label for each in own.encode(own.rows[0], torch.Generator()).boxes] == [4, 0]

    fresh = learner(detector, tmp_path, new_head=True).model
    assert fresh.config.id2label == {0: "cat", 1: "dog"}
    before, after = base.state_dict(), fresh.state_dict()
    changed = {name for name in after if after[name].shape != before[name].shape or (after[name] != before[name]).any()}
    assert changed
    assert all("class" in name or "score" in name for name in changed)


def test_as_many_other_labels_get_a_new_head(dfine: Path, tmp_path: Path) -> None:
    learning = learner(dfine, tmp_path, [objects(("cat", (4, 2, 10, 10)))])
    before, after = Detectors.from_pretrained(dfine).state_dict(), learning.model.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert {"model.enc_score_head.weight", "model.decoder.class_embed.0.weight"} <= changed
    assert not any("bbox" in name or "backbone" in name for name in changed)


def test_a_batch_in_portions_has_the_losses_of_the_whole(dfine: Path, tmp_path: Path) -> None:
    learning = learner(dfine, tmp_path)
    examples = [learning.encode(row, torch.Generator()) for row in learning.rows]
    with torch.no_grad():
        whole, first, second = (
            learning.loss(learning.model, learning.collate(part)) for part in (examples, examples[:1], examples[1:])
        )
    assert (first + second).item() == pytest.approx(whole.item(), rel=1e-5)


def test_a_mirrored_picture_has_its_boxes_mirrored(dfine: Path, tmp_path: Path) -> None:
    learning = learner(dfine, tmp_path, flip=True)
    seen = [learning.encode(learning.rows[0], torch.Generator().manual_seed(seed)) for seed in range(20)]
    mirrored = [each for each in seen if each.picture.getpixel((0, 0)) == (0, 0, 255)]
    assert 0 < len(mirrored) < len(seen)
    assert [each.box for each in mirrored[0].boxes] == [Box(26, 2, 36, 12), Box(5, 5, 20, 15)]
    plain = next(each for each in seen if each not in mirrored)
    assert [each.box for each in plain.boxes] == [Box(4, 2, 14, 12), Box(20, 5, 35, 15)]
    still = learner(dfine, tmp_path)
    assert all(still.encode(still.rows[0], torch.Generator()).boxes == plain.boxes for _ in range(5))


def test_boxes_end_at_the_picture_and_crowds_are_not_learned(dfine: Path, tmp_path: Path) -> None:
    crowd = objects(("cat", (-5, -5, 15, 100)))
    crowd["objects"] += objects(("dog", (0, 0, 40, 20)), crowd=True)["objects"]
    learning = learner(dfine, tmp_path, [crowd, TWO[0]])
    example = learning.encode(learning.rows[0], torch.Generator())
    assert example.boxes[0].box == Box(0, 0, 10, 20)
    assert example.boxes[1].is_crowd
    learned = learning.collate([example])["labels"][0]
    assert learned["class_labels"].tolist() == [0]
    assert learned["boxes"].tolist() == [pytest.approx([0.125, 0.5, 0.25, 1.0])]


def test_labels_of_a_validation_split_that_nothing_else_has_are_not_looked_for(dfine: Path, tmp_path: Path) -> None:
    learning = learner(dfine, tmp_path)
    validation = rows_of(tmp_path / "validation", [objects(("cat", (4, 2, 10, 10)), ("owl", (0, 0, 9, 9)))])
    measured = learning.measure(validation, 1, Orders())
    assert [(each.label, each.boxes) for each in measured.boxes] == [("cat", 1), ("dog", 0)]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([objects()], "nothing is marked"),
        ([objects(("cat", (0, 0, 9, 9)), crowd=True)], "nothing is marked"),
        ([objects(("cat", (41, 0, 9, 9)))], "in 'a.png', the box 41, 0, 9, 9 lies outside of its 40 x 20 pixels"),
        ([objects(("cat", (0, 0, 0, 9)))], "in 'a.png', the `box` of object 1 of `objects` is not x, y"),
        ([{"objects": {"bbox": [[0, 0, 9, 9]]}}], "in 'a.png', `objects` is not a list of objects"),
    ],
)
def test_what_cannot_be_learned_is_unsuitable(
    dfine: Path, tmp_path: Path, rows: list[dict[str, Any]], says: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        learner(dfine, tmp_path, rows)
    assert (caught.value.reason, says in caught.value.message) == ("DATASET_UNSUITABLE", True), caught.value.message


def test_what_is_no_detector_is_no_base(tmp_path: Path) -> None:
    from support.tiny_models import tiny_sentence_encoder

    with pytest.raises(FailedPrecondition) as caught:
        learner(tiny_sentence_encoder(tmp_path / "base"), tmp_path)
    assert caught.value.reason == "BASE_UNSUITABLE"
