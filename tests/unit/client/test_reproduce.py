"""`zoo reproduce`: the recorded job runs again, really trained here, and every tensor is compared."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch
from google.protobuf.json_format import MessageToDict
from typer.testing import Result

from modelzoo.client import Client
from modelzoo.errors import FailedPrecondition
from modelzoo.records import Parent
from support.tiny_models import tiny_sentence_encoder
from support.toy_jobs import ToyTraining
from support.training import attempt, lease, topics, write_rows

Zoo = Callable[..., Result]
BASE, DATA = "team/base@1", "team/out-data@1"
OTHER_DATA = {"dataset": {"manifest_digest": "0" * 64}}


@pytest.fixture
def handlers(training: ToyTraining) -> Sequence[grpc.GenericRpcHandler]:
    return training.handlers()


class Trainer:
    """Trains each job as soon as it is made, on one thread, and publishes what comes of it. `seed` is added to that
    which a job asks for; `records` are written over what the version says of its training."""

    def __init__(self, client: Client, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self.seed = 0
        self.records: Mapping[str, Any] = {}

    def train(self, toy: ToyTraining, name: str) -> None:
        spec = toy.jobs[name].spec
        toy.state(name, "RUNNING", actor="w1")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            leased = lease(spec.recipe, MessageToDict(spec.parameters), name=name, seed=spec.seed + self.seed, steps=4)
            for source, reference in ((leased.base, spec.base), (leased.dataset, spec.dataset)):
                source.reference = reference
                source.manifest_digest = self._client.version(reference).manifest_digest
            done = attempt(self._folder, self._client.pull(spec.base), self._client.pull(spec.dataset), leased)
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(False)
        record = done.result / "training.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | dict(self.records)))
        parents = [Parent(spec.base, "FINE_TUNED", name, spec.dataset)]
        toy.succeed(name, self._client.push(done.result, spec.output, parents=parents).reference)


@pytest.fixture
def trainer(client: Client, training: ToyTraining, tmp_path: Path, tree: Any) -> Trainer:
    """With `team/out@1`, trained with seed 7."""
    version = client.version(client.push(tiny_sentence_encoder(tmp_path / "base"), BASE[:-2]).reference)
    training.recipes[0].base_tasks.append(version.facts.task)
    trainer = Trainer(client, tmp_path)
    training.script = trainer.train
    data = write_rows(tmp_path / "data", train=topics(24), test=topics(30)[24:])
    client.finetune(BASE, data, to="team/out", batch_size=8).result()
    return trainer


def test_on_one_thread_every_tensor_comes_out_the_same(client: Client, zoo: Zoo, trainer: Trainer):
    done = zoo("reproduce", "team/out")
    assert done.exit_code == 0, done.output
    assert "tensors of team/out@1 and team/out-reproduced@1 are the same" in done.stdout
    found = client.lineages.get("team/out-reproduced@1", direction="up", depth=1)
    again = client.jobs.get(found.edges[0].job)
    first = client.jobs.get(again.labels["reproduces"])
    assert (again.spec.parameters, again.spec.dataset) == (first.spec.parameters, DATA)
    record = json.loads((client.pull("team/out@1") / "training.json").read_text())
    assert (record["threads"], record["device"]) == (1, "cpu")
    assert record["software"].keys() >= {"torch", "transformers", "python"}
    assert record["processor"]
    with pytest.raises(FailedPrecondition, match="names no job") as caught:
        client.reproduce(BASE)
    assert caught.value.reason == "TRAINING_NOT_RECORDED"


def test_a_difference_is_told_by_tensor_with_its_likely_cause(client: Client, zoo: Zoo, trainer: Trainer):
    trainer.seed, trainer.records = 1, {"software": {"torch": "2.0.0"}, "threads": 3} | OTHER_DATA
    found = client.reproduce("team/out", to="team/scratch")
    assert not found.is_equal
    (head,) = [tensor for tensor in found.tensors if tensor.name == "classifier.weight"]
    assert head.largest is not None
    assert head.largest > 0.001
    assert [cause for cause in found.causes if cause.startswith("torch ")] == [
        f"torch {torch.__version__} then, 2.0.0 now"
    ]
    assert "another number of threads: 1 then, 3 now" in found.causes
    assert "another seed: 42 then, 1 now" in found.causes
    said = zoo("reproduce", "team/out", "--job", found.again)
    assert (said.exit_code, "classifier.weight" in said.stdout, "differs by at most" in said.stdout) == (1, True, True)
    told = json.loads(zoo("reproduce", "team/out", "--job", found.again, "--json").stdout)
    assert (told["is_equal"], told["reproduction"]["reproduced"]) == (False, "team/scratch@1")
    with pytest.raises(FailedPrecondition, match=f"{DATA}, its dataset, has other files"):
        client.reproduce("team/scratch")
