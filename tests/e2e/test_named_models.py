"""Models by name from a running zoo: torchvision's own outputs, and what is said where the zoo has none."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image

import modelzoo
from modelzoo import models
from modelzoo.client import Client
from modelzoo.errors import FailedPrecondition, NotFound
from support.cluster import Cluster, zoo
from support.tiny_models import tiny_gpt2
from support.torchvision_nets import golden_logits, golden_state, known_input, relative_error

ERROR_MAX = 1e-3
NAMESPACE = "named"
MAKERS: dict[str, Callable[..., Any]] = {"alexnet": models.alexnet, "resnet18": models.resnet18}


@dataclass(frozen=True, slots=True)
class Imported:
    """A network with the golden weights, in the zoo."""

    arch: str
    reference: str


@pytest.fixture
def client(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of a publisher in the namespace, with a cache of its own."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    with cluster.client(cluster.key("user:names", NAMESPACE, "publisher")) as client:
        yield client


@pytest.fixture(scope="module", params=MAKERS)
def imported(request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """A network that torchvision computed, by `zoo import`."""
    arch: str = request.param
    weights = tmp_path_factory.mktemp("weights") / f"{arch}.pth"
    torch.save(golden_state(arch), weights)
    access = ("--url", cluster.url, "--key", cluster.admin_key)
    words = ("import", "torchvision", arch, str(weights), f"{NAMESPACE}/{arch}", "--create-namespace", "--json")
    return Imported(arch, json.loads(zoo(*access, *words))["reference"])


def test_a_network_from_the_zoo_computes_what_torchvision_computed(imported: Imported, client: Client) -> None:
    network = MAKERS[imported.arch](pretrained=True, reference=imported.reference, client=client)
    with torch.no_grad():
        logits = network(known_input())
    assert relative_error(logits, golden_logits(imported.arch)) < ERROR_MAX
    assert not network.training
    assert network.config.id2label[1] == "goldfish"


def test_a_worker_computes_what_the_network_does_on_this_machine(imported: Imported, client: Client) -> None:
    reference = imported.reference
    picture = Image.fromarray(numpy.random.default_rng(5).integers(0, 255, (320, 280, 3), dtype=numpy.uint8))
    pixels = modelzoo.load_processor(reference, client=client)(picture, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        logits = MAKERS[imported.arch](pretrained=True, reference=reference, client=client)(pixels)[0]
    found = client.classify_image(reference, picture, top_k=1000)
    answered = torch.tensor([label.score for label in sorted(found.labels, key=lambda label: label.index)])
    # Logits up to a constant, which softmax forgets; where a probability is too small for float32 so is its logarithm.
    seen = answered > 1e-30
    difference = (answered.log() - logits.log_softmax(-1))[seen].abs().max()
    assert int(seen.sum()) > 100
    assert float(difference / logits.abs().max()) < ERROR_MAX


@pytest.mark.parametrize(
    ("make", "reference", "command"),
    [
        (models.resnet50, f"{NAMESPACE}/absent", f"zoo import torchvision resnet50 {NAMESPACE}/absent"),
        (
            models.bert_base_uncased,
            f"{NAMESPACE}/bert",
            f"zoo import hf google-bert/bert-base-uncased {NAMESPACE}/bert",
        ),
        (models.gpt2, f"{NAMESPACE}/absent@prod", f"zoo import hf openai-community/gpt2 {NAMESPACE}/absent"),
    ],
)
def test_a_missing_model_names_the_command_that_imports_it(
    make: Callable[..., Any], reference: str, command: str, client: Client
) -> None:
    with pytest.raises(NotFound) as caught:
        make(pretrained=True, reference=reference, client=client)
    assert caught.value.reason == "MODEL_NOT_FOUND"
    assert f"`{command}`" in caught.value.message


def test_a_model_of_another_kind_is_refused(client: Client, tmp_path: Path) -> None:
    reference = client.push(tiny_gpt2(tmp_path / "gpt2"), f"{NAMESPACE}/tiny-gpt2").reference
    with pytest.raises(FailedPrecondition) as caught:
        models.resnet18(pretrained=True, reference=reference, client=client)
    assert caught.value.reason == "MODEL_UNSUPPORTED"
    assert models.gpt2(pretrained=True, reference=reference, client=client).config.n_layer == 2
