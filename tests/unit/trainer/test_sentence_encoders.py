"""Sentence encoders: what a pair is told apart from, what is measured, and that the result is served as its base is."""

import dataclasses
import json
import random
import string
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

import modelzoo
from support.tiny_models import tiny_llama, tiny_sentence_encoder
from support.training import Attempt, attempt, lease, write_rows
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo_trainer.recipes import Start, find_recipe
from zoo_trainer.retrieval import measure_retrieval, measure_scores
from zoo_trainer.rows import store_rows

NAMES = [letter * 4 for letter in string.ascii_uppercase]


def pair(number: int) -> dict[str, str]:
    """Of one of 26 names; all are different."""
    name = NAMES[number % len(NAMES)]
    return {"anchor": f"where is {name}", "positive": f"{name} is here {number // len(NAMES) or ''}"}


def learner(recipe: str, base: Path, folder: Path, rows: list[dict[str, Any]], **settings: Any) -> Any:
    found = find_recipe(recipe)
    stored = store_rows(rows, folder / "rows.jsonl", folder)
    return found.start(Start(base, "zoo/base@1", stored, stored, found.read_settings(settings), 1))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sentence_encoder(tmp_path_factory.mktemp("models") / "cls", pooling="cls")


@pytest.fixture(scope="module")
def done(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Attempt:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("pairs")
    # As small a model learns nothing that it was not shown.
    rows = [pair(number) for number in range(26)]
    data = write_rows(folder / "data", train=rows, test=rows)
    settings = {"learning_rate": 0.003, "batch_size": 8}
    return attempt(folder, base, data, lease("sentence-embeddings", settings, steps=80))


def test_what_belongs_together_is_found_better_than_before(done: Attempt) -> None:
    mrr, first = done.measured("mrr"), done.measured("accuracy_at_1")
    assert mrr.after > mrr.before + 0.15
    assert mrr.after > first.after > first.before
    assert (mrr.items, mrr.HasField("majority")) == (26, False)


def test_the_result_is_pooled_as_its_base_is(base: Path, done: Attempt) -> None:
    for name in ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json"):
        assert (done.result / name).read_bytes() == (base / name).read_bytes()
    assert json.loads((done.result / "config.json").read_text())["architectures"] == ["BertModel"]
    pipe = modelzoo.pipeline(done.result)
    assert pipe.task == "sentence-similarity"
    vectors = pipe([row[side] for row in map(pair, range(26)) for side in ("anchor", "positive")])
    nearest = (vectors[::2] @ vectors[1::2].T).argmax(1)
    assert (nearest == numpy.arange(26)).mean() == pytest.approx(done.measured("accuracy_at_1").after)


def test_no_pair_is_told_apart_from_what_is_right_for_it(base: Path, tmp_path: Path) -> None:
    rows = [
        {"anchor": "a", "positive": "x", "negative": "n"},
        {"anchor": "a", "positive": "y", "negative": None},
        {"anchor": "b", "positive": "x", "negative": "a"},
    ]
    made = learner("sentence-embeddings", base, tmp_path, rows)
    batch = made.collate([made.encode(row, torch.Generator()) for row in made.rows])
    # Candidates: x, y, x, n, a.
    assert batch["possible"].tolist() == [
        [True, False, False, True, False],
        [False, True, False, True, False],
        [False, True, True, True, True],
    ]
    assert made.items(batch) == 3
    assert torch.isfinite(made.loss(made.model, batch))
    alone = made.collate([made.encode({"anchor": "a", "positive": "x"}, torch.Generator())])
    assert (made.items(alone), made.loss(made.model, alone).item()) == (0, 0)


def test_a_rank_counts_what_is_as_near_and_not_the_anchors_own_text() -> None:
    same = torch.ones(2, 3) / 3**0.5
    collapsed = measure_retrieval(same, torch.ones(4, 3) / 3**0.5, [{0}, {1}], [None, None])
    assert collapsed.metrics == {"accuracy_at_1": 0, "mrr": 0.25}
    axes = torch.eye(3)
    found = measure_retrieval(axes[:2], axes, [{0}, {0}], [None, 1])
    assert found.metrics == {"accuracy_at_1": 0.5, "mrr": 0.75}


def test_where_memory_ends_pairs_have_fewer_others_and_never_none(base: Path, tmp_path: Path) -> None:
    recipe = find_recipe("sentence-embeddings")

    class Hungry:
        def __init__(self, start: Start[Any], rows: int) -> None:
            self._inner: Any = recipe.start(start)
            self._rows = rows

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def loss(self, model: Any, batch: Any) -> Any:
            if len(batch["anchors"]) > self._rows:
                raise MemoryError
            return self._inner.loss(model, batch)

    data = write_rows(tmp_path / "data", train=[pair(n) for n in range(32)], test=[pair(n) for n in range(32, 40)])
    leased = lease("sentence-embeddings", {"batch_size": 8}, steps=2)
    short = attempt(
        tmp_path, base, data, leased, recipe=dataclasses.replace(recipe, start=lambda start: Hungry(start, 4))
    )
    assert "fewer texts to be told from" in short.logs
    assert "fewer texts to be told from" in (short.result / "README.md").read_text()
    never = attempt(
        tmp_path, base, data, leased, recipe=dataclasses.replace(recipe, start=lambda start: Hungry(start, 1))
    )
    assert (never.release.outcome, never.release.reason) == (pb.OUTCOME_FAILED, "OUT_OF_MEMORY")


def test_scores_of_any_scale_are_learned_as_cosines(encoder: Path, tmp_path: Path) -> None:
    rows = [
        {"sentence1": first, "sentence2": second, "score": "5" if (first < "N") == (second < "N") else "0"}
        for first, second in zip(NAMES, random.Random(0).sample(NAMES, len(NAMES)), strict=True)
    ]
    data = write_rows(tmp_path / "data", train=rows, test=rows)
    done = attempt(tmp_path, encoder, data, lease("sentence-similarity", {"learning_rate": 0.003}, steps=20))
    spearman = done.measured("spearman")
    assert spearman.after > spearman.before + 0.3
    assert "Scores from 0 to 5 are taken as cosines of 0 to 1." in done.logs
    assert measure_scores([0.5, 0.5], [1, 2]).metrics == {"spearman": 0}
    assert measure_scores([0.1, 0.2, 0.9], [1, 2, 3]).metrics == {"spearman": pytest.approx(1)}


@pytest.mark.parametrize(
    ("recipe", "row", "settings", "reason", "words"),
    [
        ("sentence-embeddings", {"anchor": "a"}, {}, "COLUMN_MISSING", "positive or passage"),
        ("sentence-embeddings", {"anchor": "a", "positive": "b"}, {}, "DATASET_UNSUITABLE", "same positive"),
        ("sentence-embeddings", {"anchor": "a", "positive": " "}, {}, "DATASET_UNSUITABLE", "same positive"),
        ("sentence-similarity", {"sentence1": "a", "sentence2": "b", "score": "x"}, {}, "DATASET_UNSUITABLE", "number"),
        ("sentence-similarity", {"sentence1": "a", "sentence2": "b", "score": 1}, {}, "DATASET_UNSUITABLE", "score 1"),
    ],
)
def test_data_without_anything_to_tell_apart_are_refused(
    encoder: Path, tmp_path: Path, recipe: str, row: dict[str, Any], settings: Any, reason: str, words: str
) -> None:
    data = write_rows(tmp_path / "data", train=[row] * 3, test=[row])
    ended = attempt(tmp_path, encoder, data, lease(recipe, settings, steps=1)).release
    assert (ended.outcome, ended.reason) == (pb.OUTCOME_HOPELESS, reason)
    assert words in ended.message


def test_bases_that_give_no_vectors_and_portions_of_one_are_refused(base: Path, tmp_path: Path) -> None:
    rows = [pair(number) for number in range(8)]
    data = write_rows(tmp_path / "data", train=rows[:6], test=rows[6:])
    ended = attempt(tmp_path, tiny_llama(tmp_path / "llama"), data, lease("sentence-embeddings", {}, steps=1)).release
    assert (ended.outcome, ended.reason) == (pb.OUTCOME_HOPELESS, "BASE_UNSUITABLE")
    alone = attempt(tmp_path, base, data, lease("sentence-embeddings", {"micro_batch_size": 1}, steps=1)).release
    assert (alone.outcome, alone.reason) == (pb.OUTCOME_HOPELESS, "PARAMETER_INVALID")
