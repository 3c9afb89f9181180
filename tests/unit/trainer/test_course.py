"""What an attempt says and how it ends: the result and what it cost, and whatever goes wrong."""

import errno
import json
import resource
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from support.tiny_task_models import tiny_image_classifier, tiny_text_classifier
from support.training import Attempt, FolderPushes, attempt, lease, topics, write_rows
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo_catalog.card import parse_card
from zoo_trainer.keeping import Pushed
from zoo_trainer.tensors import load_tensors, save_tensors

Settings = Mapping[str, Any]


def classify(folder: Path, base: Path, data: Path, settings: Settings, **budget: Any) -> Attempt:
    return attempt(folder, base, data, lease("text-classification", settings, **budget))


def test_a_trained_classifier_beats_the_majority_and_says_what_it_is(
    encoder: Path, topic_data: Path, tmp_path: Path
) -> None:
    licensed = tmp_path / "licensed"
    shutil.copytree(encoder, licensed)
    (licensed / "README.md").write_text("---\nlicense: other\nlicense_name: no\n---\nA base")
    done = classify(tmp_path, licensed, topic_data, {"learning_rate": 0.003}, epochs=12)
    accuracy = done.measured("accuracy")
    assert accuracy.majority == pytest.approx(1 / 3)
    assert accuracy.after > accuracy.majority + 0.4
    assert accuracy.after > accuracy.before
    assert (accuracy.items, accuracy.split) == (24, "test")
    tables = json.loads((done.result / "evaluation.json").read_text())
    assert sum(map(sum, tables["after"]["confusion"])) == 24
    assert [each["label"] for each in tables["after"]["classes"]] == ["animal", "food", "tool"]
    record = json.loads((done.result / "training.json").read_text())
    assert record["base"]["manifest_digest"] == "b" * 64
    assert record["used"]["examples"] == 12 * 96
    assert record["used"]["memory_bytes"] > 2**20
    card = (done.result / "README.md").read_text()
    front = parse_card(card.encode())
    assert (front.task, front.licence) == ("text-classification", "no")
    assert (front.base_models, front.datasets) == (("zoo/base",), ("zoo/data",))
    assert f"| accuracy | {accuracy.before:.4f} | **{accuracy.after:.4f}** | 0.3333 |" in card
    progress = [event.metrics.progress for event in done.events if event.metrics.progress.HasField("loss")]
    assert progress[-1].step == progress[-1].steps == 72
    assert progress[-1].remaining.ToMilliseconds() == 0


def test_a_linear_probe_sends_its_head_alone(encoder: Path, topic_data: Path, tmp_path: Path) -> None:
    done = classify(tmp_path, encoder, topic_data, {"freeze": "encoder", "checkpoint_steps": 3}, epochs=1)
    ((_, checkpoint), *_, (_, result)) = done.pushes.pushed
    changed = load_file(done.result / "model-00002-of-00002.safetensors")
    assert changed.keys() == {"classifier.weight", "classifier.bias"}
    whole = sum(file.stat().st_size for file in done.result.glob("*.safetensors"))
    own = sum(file.stat().st_size for file in done.result.iterdir() if file.suffix in (".json", ".md"))
    # Beside the head: two headers, and what people and programs read.
    assert result.sent_bytes < 12_000 + own < whole
    head = 3 * 32 * 4 + 3 * 4
    # Head, two moments of it, three generators, and JSON.
    assert checkpoint.size_bytes < 30_000 + 3 * head
    before, after = (load_tensors_of(path) for path in (encoder, done.result))
    assert all(torch.equal(tensor, after[f"bert.{name}"]) for name, tensor in before.items() if "pooler" not in name)


def load_tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def test_a_head_for_the_same_labels_is_trained_on(tmp_path: Path) -> None:
    base = tiny_text_classifier(tmp_path / "base")
    data = write_rows(tmp_path / "data", train=[{"text": f"a {n}", "label": ("cat", "dog")[n % 2]} for n in range(20)])
    same = classify(tmp_path, base, data, {}, steps=1)
    assert "new head" not in same.logs
    config = json.loads((same.result / "config.json").read_text())
    assert len(config["id2label"]) == 7
    fresh = classify(tmp_path, base, data, {"new_head": True}, steps=1)
    assert "A new head for 2 labels was drawn." in fresh.logs


def test_rare_labels_weigh_more_with_class_weights(encoder: Path, tmp_path: Path) -> None:
    rows = topics(40, ("animal", "food"))
    rare = [row for row in rows if row["label"] == "animal"] + [row for row in rows if row["label"] == "food"][:2]
    data = write_rows(tmp_path / "data", train=rare, test=rows)
    plain, weighed = (
        classify(tmp_path, encoder, data, {"class_weights": on, "learning_rate": 0.003}, steps=25)
        for on in (False, True)
    )
    recalls = [
        json.loads((each.result / "evaluation.json").read_text())["after"]["classes"][1]["recall"]
        for each in (plain, weighed)
    ]
    assert recalls[1] > recalls[0]


def test_it_stops_when_evaluations_get_no_better_and_keeps_the_best(
    encoder: Path, topic_data: Path, tmp_path: Path
) -> None:
    settings = {"learning_rate": 1e-9, "evaluation_steps": 2}
    done = classify(tmp_path, encoder, topic_data, settings, epochs=20, patience=3)
    assert json.loads((done.result / "training.json").read_text())["steps"] == 8
    assert "epochs" not in json.loads((done.result / "training.json").read_text())["settings"]
    assert "kept from training to say when to stop" in done.logs
    assert "weights of step 2, the best" in (done.result / "README.md").read_text()


def test_a_label_of_validation_alone_is_counted_as_missed(encoder: Path, tmp_path: Path) -> None:
    rows = topics(40)
    seen = [row for row in rows if row["label"] != "tool"]
    data = write_rows(tmp_path / "data", train=seen[:20], validation=rows[30:], test=seen[20:])
    done = classify(tmp_path, encoder, data, {}, steps=2, patience=1)
    assert done.release.outcome == pb.OUTCOME_TRAINED
    assert "1 labels stand in held-out rows alone and cannot be learned: tool." in done.logs


def test_a_budget_of_time_ends_the_training_and_publishes(encoder: Path, topic_data: Path, tmp_path: Path) -> None:
    leased = lease("text-classification", {}, epochs=1000)
    leased.job.spec.budget.wall_time.FromMilliseconds(1)
    done = attempt(tmp_path, encoder, topic_data, leased)
    assert json.loads((done.result / "training.json").read_text())["steps"] == 1


def test_a_loss_that_is_no_number_stops_at_once_and_the_last_good_checkpoint_stays(
    encoder: Path, topic_data: Path, tmp_path: Path
) -> None:
    settings = {"learning_rate": 1000, "weight_decay": 1, "gradient_norm": 0, "checkpoint_steps": 1, "warmup": 0}
    ended = classify(tmp_path, encoder, topic_data, settings, steps=200)
    assert (ended.release.outcome, ended.release.reason) == (pb.OUTCOME_HOPELESS, "LOSS_NOT_FINITE")
    kept = ended.checkpoints[-1].step
    assert f"at step {kept + 1}. The last checkpoint, of step {kept}, is kept." in ended.release.message
    assert "lower learning_rate" in ended.release.message
    assert ended.checkpoint is not None
    assert all(torch.isfinite(each).all() for each in load_tensors(ended.checkpoint / "model.safetensors").values())


class Full(FolderPushes):
    """A disk that is full when the second checkpoint comes."""

    def push(self, folder: Path, format: str) -> Pushed:
        if self.pushed:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().push(folder, format)


def test_a_full_disk_ends_the_attempt_and_the_last_checkpoint_stays(
    encoder: Path, topic_data: Path, tmp_path: Path
) -> None:
    leased = lease("text-classification", {"checkpoint_steps": 2}, steps=10)
    ended = attempt(tmp_path, encoder, topic_data, leased, pushes=Full(tmp_path / "pushed"))
    assert (ended.release.outcome, ended.release.reason) == (pb.OUTCOME_FAILED, "DISK_FULL")
    assert [checkpoint.step for checkpoint in ended.checkpoints] == [2]


def test_what_the_system_says_of_a_file_that_cannot_be_written_is_told_by_its_number(tmp_path: Path) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    heeded = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
    try:
        with pytest.raises(OSError, match="too large") as caught:
            save_tensors({"a": torch.zeros(1000)}, tmp_path / "a.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        signal.signal(signal.SIGXFSZ, heeded)
    assert caught.value.errno == errno.EFBIG


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"learning_rate": 1e9}, "learning_rate"),
        ({"epochs": 0}, "epochs"),
        ({"warmup": 1.5}, "warmup"),
        ({"learning_rat": 0.1}, "learning_rat"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"frozen_layers": 9}, "the base has 2 layers"),
    ],
)
def test_parameters_that_cannot_be_are_refused_by_name(
    encoder: Path, topic_data: Path, tmp_path: Path, settings: Settings, words: str
) -> None:
    ended = classify(tmp_path, encoder, topic_data, settings).release
    assert (ended.outcome, ended.reason) == (pb.OUTCOME_HOPELESS, "PARAMETER_INVALID")
    assert words in ended.message


SAME = [{"text": "a", "label": "x"}, {"text": "a", "label": "y"}]


@pytest.mark.parametrize(
    ("rows", "reason", "words"),
    [
        ([{"text": f"a {n}", "label": "x"} for n in range(9)], "DATASET_UNSUITABLE", "nothing to tell apart"),
        ([{"text": f"a {n}"} for n in range(9)], "COLUMN_MISSING", "label or category or class"),
        ([{"text": f"a {n}", "label": None} for n in range(9)], "DATASET_UNSUITABLE", "a row has no label"),
        ([{"text": n, "label": str(n % 2)} for n in range(9)], "DATASET_UNSUITABLE", "has to be a text"),
        (SAME, "DATASET_UNSUITABLE", "all of its rows are the same example"),
        ([], "DATASET_UNSUITABLE", "no rows to train on"),
    ],
)
def test_data_that_teaches_nothing_is_refused_with_what_to_do(
    encoder: Path, tmp_path: Path, rows: list[dict[str, Any]], reason: str, words: str
) -> None:
    ended = classify(tmp_path, encoder, write_rows(tmp_path / "data", train=rows), {}).release
    assert (ended.outcome, ended.reason) == (pb.OUTCOME_HOPELESS, reason)
    assert words in ended.message


def test_a_base_of_another_kind_is_refused(topic_data: Path, tmp_path: Path) -> None:
    base = tiny_image_classifier(tmp_path / "base")
    ended = classify(tmp_path, base, topic_data, {}).release
    assert (ended.outcome, ended.reason) == (pb.OUTCOME_HOPELESS, "BASE_UNSUITABLE")
