"""torchvision's state dicts, against torchvision's own outputs and an implementation that shares nothing with ours."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from modelzoo.convert.labels import read_labels
from modelzoo.convert.torchvision import convert
from modelzoo.errors import InvalidArgument, ZooError
from modelzoo.loading import load_directory, load_processor_directory
from support.torchvision_nets import (
    golden_logits,
    golden_state,
    known_input,
    known_state,
    relative_error,
    resnet_logits,
    resnet_shapes,
)

ERROR_MAX = 1e-3
SMALL = resnet_shapes("basic", (1, 1), width=4, classes=7)  # 2 * 2 + 2 layers: a resnet6
SMALL_BOTTLENECK = resnet_shapes("bottleneck", (2, 1), width=4, classes=3)


def written(content: Any, file: Path) -> Path:
    """A state dict as safetensors: a pickle is read by a process of its own, which imports torch first. What else a
    checkpoint holds needs one."""
    if all(isinstance(value, torch.Tensor) for value in content.values()):
        save_file(content, file)
    else:
        torch.save(content, file)
    return file


def converted(arch: str, content: object, folder: Path) -> Path:
    target = folder / "converted"
    target.mkdir()
    convert(arch, written(content, folder / "weights.pth"), target)
    return target


def refusal(arch: str, content: object, folder: Path) -> ZooError:
    with pytest.raises(InvalidArgument) as caught:
        converted(arch, content, folder)
    assert not list((folder / "converted").iterdir())
    return caught.value


@pytest.mark.parametrize("arch", ["alexnet", "resnet18"])
def test_converted_networks_compute_what_torchvision_computed(arch: str, tmp_path: Path) -> None:
    torch.save(golden_state(arch), tmp_path / "weights.pth")
    (tmp_path / "converted").mkdir()
    convert(arch, tmp_path / "weights.pth", tmp_path / "converted")
    model = load_directory(tmp_path / "converted")
    with torch.no_grad():
        logits = model(known_input()).logits
    assert relative_error(logits, golden_logits(arch)) < ERROR_MAX


def test_the_independent_implementation_computes_what_torchvision_computed() -> None:
    logits = resnet_logits(golden_state("resnet18"), known_input())
    assert relative_error(logits, golden_logits("resnet18")) < ERROR_MAX


@pytest.mark.parametrize(
    ("arch", "shapes"),
    [
        ("resnet34", resnet_shapes("basic", (3, 4, 6, 3))),
        ("resnet50", resnet_shapes("bottleneck", (3, 4, 6, 3))),
        ("resnet6", SMALL),
        ("resnet11", SMALL_BOTTLENECK),
        ("resnet", SMALL_BOTTLENECK),
    ],
    ids=["34", "50", "small", "small bottleneck", "no number"],
)
def test_any_depth_width_and_number_of_classes_is_read_off_the_entries(
    arch: str, shapes: dict[str, list[int]], tmp_path: Path
) -> None:
    state = known_state(shapes)
    model: Any = load_directory(converted(arch, state, tmp_path))
    pictures = known_input(96)
    with torch.no_grad():
        assert relative_error(model(pictures).logits, resnet_logits(state, pictures)) < ERROR_MAX
    assert model.config.num_labels == shapes["fc.weight"][0]


def test_a_training_checkpoint_of_a_parallel_run_without_counters_is_taken(tmp_path: Path) -> None:
    state = known_state(SMALL)
    old = {f"module.{name}": value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    model = load_directory(converted("resnet6", {"epoch": 3, "state_dict": old}, tmp_path))
    pictures = known_input(64)
    with torch.no_grad():
        assert relative_error(model(pictures).logits, resnet_logits(state, pictures)) < ERROR_MAX


def test_pictures_are_prepared_as_torchvision_prepares_them(tmp_path: Path) -> None:
    state = known_state(resnet_shapes("basic", (1,), width=4))
    folder = converted("resnet4", state, tmp_path)
    processor = load_processor_directory(folder)
    picture = Image.linear_gradient("L").resize((400, 300)).convert("RGB")
    pixels = processor(picture, return_tensors="pt")["pixel_values"]
    resized = picture.resize((341, 256), Image.Resampling.BILINEAR).crop((58, 16, 282, 240))
    expected = torch.from_numpy(np.array(resized)).permute(2, 0, 1) / 255
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (expected - mean[:, None, None]) / deviation[:, None, None]
    assert pixels.shape == (1, 3, 224, 224)
    assert (pixels[0] - expected).abs().max() < 0.05
    labels = json.loads((folder / "config.json").read_text())["id2label"]
    assert (len(labels), labels["0"], labels["999"]) == (1000, "tench", "toilet tissue")


def test_entries_that_are_missing_too_many_or_misshapen_are_named_and_counted(tmp_path: Path) -> None:
    state = known_state(SMALL)
    del state["layer2.0.bn1.weight"], state["fc.bias"]
    state["extra.weight"] = torch.zeros(1)
    state["layer1.0.conv2.weight"] = torch.zeros(5, 4, 3, 3)
    error = refusal("resnet6", state, tmp_path)
    assert (error.reason, error.metadata) == (
        "STATE_DICT_MISMATCH",
        {"missing": "2", "unexpected": "1", "mismatched": "1"} | error.metadata,
    )
    for name in ("layer2.0.bn1.weight", "fc.bias", "extra.weight", "layer1.0.conv2.weight"):
        assert name in error.message


def test_a_resnet18_is_no_resnet34_and_no_alexnet(tmp_path: Path) -> None:
    state = known_state(resnet_shapes("basic", (2, 2, 2, 2), width=4))
    written(state, tmp_path / "weights.pth")
    for arch, missing in (("resnet34", 80), ("alexnet", 16)):
        with pytest.raises(InvalidArgument) as caught:
            convert(arch, tmp_path / "weights.pth", tmp_path)
        assert (caught.value.reason, caught.value.metadata["missing"]) == ("STATE_DICT_MISMATCH", str(missing))
        assert "resnet18" in caught.value.message
        assert arch in caught.value.message


@pytest.mark.parametrize(
    ("arch", "changes", "said"),
    [
        ("resnet11", {"layer1.0.conv2.weight": [4, 1, 3, 3]}, "ResNeXt"),
        ("resnet11", {"layer1.0.conv3.weight": [32, 4, 1, 1]}, "wide ResNet"),
        ("vgg11", {}, "vgg11"),
    ],
)
def test_layouts_that_cannot_be_expressed_are_unsupported(
    arch: str, changes: dict[str, list[int]], said: str, tmp_path: Path
) -> None:
    error = refusal(arch, known_state(SMALL_BOTTLENECK | changes), tmp_path)
    assert error.reason == "CHECKPOINT_UNSUPPORTED"
    assert said in error.message


def test_entries_of_neither_family_are_unsupported(tmp_path: Path) -> None:
    assert refusal("resnet18", {"blocks.0.weight": torch.zeros(2)}, tmp_path).reason == "CHECKPOINT_UNSUPPORTED"


def test_quantised_weights_are_unsupported(tmp_path: Path) -> None:
    state = known_state(SMALL)
    state["fc.weight"] = state["fc.weight"].to(torch.int8)
    assert refusal("resnet6", state, tmp_path).reason == "CHECKPOINT_UNSUPPORTED"


def labels_of(folder: Path) -> dict[str, str]:
    return json.loads((folder / "config.json").read_text())["id2label"]


def test_classes_are_called_as_the_labels_say_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("zebra\nant\n\u00e9lan\nd\ne\nf\ng\n", encoding="utf-8")
    written(known_state(SMALL), tmp_path / "weights.pth")
    (tmp_path / "new").mkdir()
    origin = convert("resnet6", tmp_path / "weights.pth", tmp_path / "new", read_labels(tmp_path / "labels.txt"))
    assert (origin, list(labels_of(tmp_path / "new").values())) == ("given", ["zebra", "ant", "\u00e9lan", *"defg"])


@pytest.mark.parametrize(
    ("classes", "origin", "last"), [(7, "numbers", "LABEL_6"), (1000, "imagenet", "toilet tissue")]
)
def test_without_labels_it_is_said_whose_names_the_classes_got(
    classes: int, origin: str, last: str, tmp_path: Path
) -> None:
    written(known_state(resnet_shapes("basic", (1,), width=4, classes=classes)), tmp_path / "weights.pth")
    assert convert("resnet4", tmp_path / "weights.pth", tmp_path) == origin
    assert labels_of(tmp_path)[str(classes - 1)] == last


def test_too_few_labels_are_refused_with_both_numbers(tmp_path: Path) -> None:
    written(known_state(SMALL), tmp_path / "weights.pth")
    with pytest.raises(InvalidArgument, match=r"2 labels.* 7 classes") as caught:
        convert("resnet6", tmp_path / "weights.pth", tmp_path, ["cat", "dog"])
    assert caught.value.reason == "FIELD_INVALID"
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [(b"cat\n\ndog\n", "Line 2"), (b"cat\ndog\ncat \n", "lines 1 and 3"), (b"", "empty"), (b"\xff\n", "UTF-8")],
    ids=["blank", "twice", "empty", "no text"],
)
def test_labels_that_cannot_be_told_apart_are_refused(text: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(text)
    with pytest.raises(InvalidArgument, match=said) as caught:
        read_labels(tmp_path / "labels.txt")
    assert caught.value.reason == "FIELD_INVALID"


@pytest.mark.parametrize(("name", "prefix"), [("w.safetensors", ""), ("w.pth", ""), ("w.safetensors", "module.")])
def test_safetensors_are_taken_whatever_they_are_called(name: str, prefix: str, tmp_path: Path) -> None:
    state = known_state(SMALL)
    save_file({prefix + entry: tensor for entry, tensor in state.items()}, tmp_path / name)
    (tmp_path / "new").mkdir()
    convert("resnet6", tmp_path / name, tmp_path / "new")
    pictures = known_input(64)
    with torch.no_grad():
        logits = load_directory(tmp_path / "new")(pictures).logits
    assert relative_error(logits, resnet_logits(state, pictures)) < ERROR_MAX


def test_safetensors_that_break_off_are_refused(tmp_path: Path) -> None:
    save_file(known_state(SMALL), tmp_path / "whole")
    (tmp_path / "part.safetensors").write_bytes((tmp_path / "whole").read_bytes()[:-1])
    with pytest.raises(InvalidArgument) as caught:
        convert("resnet6", tmp_path / "part.safetensors", tmp_path)
    assert caught.value.reason == "SAFETENSORS_INVALID"


def test_a_checkpoint_of_torchvisions_training_scripts_is_taken(tmp_path: Path) -> None:
    content = {"model": known_state(SMALL), "optimizer": {"state": {}}, "lr_scheduler": {"last_epoch": 3}, "epoch": 3}
    assert len(labels_of(converted("resnet6", content, tmp_path))) == 7


def test_a_resnet_without_an_entry_is_not_said_to_be_none(tmp_path: Path) -> None:
    state = known_state(SMALL)
    del state["fc.bias"]
    message = refusal("resnet6", state, tmp_path).message
    assert "1 missing: 'fc.bias'" in message
    assert "no state dict of" not in message


def test_an_unknown_architecture_is_refused_before_the_file_is_looked_at(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"vgg16.*alexnet, resnet18, resnet34") as caught:
        convert("vgg16", tmp_path / "none.pth", tmp_path)
    assert caught.value.reason == "CHECKPOINT_UNSUPPORTED"
