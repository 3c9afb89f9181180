"""`zoo import` from the shell into a cluster: fetched, converted, checked, published, answered."""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from transformers import ResNetConfig, ResNetForImageClassification

from modelzoo.errors import NotFound
from support.cluster import ZOO, Cluster
from support.healthy_stream import HealthyStream, healthy_stream
from support.hub_server import COMMIT, HubServer, hub_server
from support.tiny_models import reciting_gpt2, tiny_gpt2, tiny_sentence_encoder

pytestmark = pytest.mark.timeout(600)

SPACE = "imports"
PROMPT = "Once"
Run = Callable[..., subprocess.CompletedProcess[str]]


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.fixture
def server() -> Iterator[HubServer]:
    with hub_server() as server:
        yield server


@pytest.fixture
def zoo_import(cluster: Cluster, server: HubServer, tmp_path: Path) -> Run:
    """Runs `zoo import` as a publisher, with hub and torchvision on this machine and a cache of its own."""
    environment = cluster.environment(cluster.key("team:imports", SPACE, "publisher"))
    environment |= {"HF_ENDPOINT": server.url, "ZOO_TORCHVISION_URL": f"{server.url}/models"}
    environment |= {"ZOO_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0"}

    def run(*words: object, rc: int = 0, **settings: str) -> subprocess.CompletedProcess[str]:
        argv = [ZOO, "import", *map(str, words)]
        done = subprocess.run(
            argv, env=environment | settings, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == rc, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def answers(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HealthyStream]:
    """A sentence is embedded, over and over again."""
    with cluster.client() as zoo:
        zoo.push(tiny_sentence_encoder(tmp_path_factory.mktemp("encoder")), f"{SPACE}/healthy", create_namespace=True)
        with healthy_stream(lambda: zoo.embed(f"{SPACE}/healthy", ["well"]).round(4).tolist()) as stream:
            yield stream


def test_hub_model_is_published_and_answers(cluster: Cluster, zoo_import: Run, server: HubServer, tmp_path: Path):
    source = reciting_gpt2(tmp_path / "hub", "upon a time", after=len(PROMPT))
    (source / "pytorch_model.bin").write_bytes(b"not wanted")
    server.models["openai-community/gpt2"] = source
    said = json.loads(zoo_import("hf", "gpt2", f"{SPACE}/gpt2", "--alias", "prod", "--json").stdout)
    assert (said["reference"], said["architecture"]) == (f"{SPACE}/gpt2@1", "GPT2LMHeadModel")
    assert said["left_out"] == ["pytorch_model.bin"]
    with cluster.client() as zoo:
        digest = hashlib.sha256((source / "model.safetensors").read_bytes()).hexdigest()
        files = {file.path: file.sha256 for file in zoo.manifest(said["reference"]).files}
        assert files["model.safetensors"] == digest
        version = zoo.version(f"{SPACE}/gpt2@prod")
        place = f"{server.url}/openai-community/gpt2/tree/{COMMIT}"
        assert version.source == f"{place} (model.safetensors sha256:{digest})"
        assert zoo.model(f"{SPACE}/gpt2").licence == "mit"
        assert "".join(zoo.generate(f"{SPACE}/gpt2", PROMPT, max_tokens=20, temperature=0)) == "upon a time"


def test_second_import_fetches_and_publishes_nothing(zoo_import: Run, server: HubServer, tmp_path: Path):
    server.models["team/tiny"] = tiny_gpt2(tmp_path / "hub")
    first = json.loads(zoo_import("hf", "team/tiny", f"{SPACE}/twice", "--json").stdout)
    server.seen.clear()
    second = json.loads(zoo_import("hf", "team/tiny", f"{SPACE}/twice", "--json").stdout)
    assert (second["reference"], second["bytes_sent"], server.fetched()) == (first["reference"], 0, [])


def test_state_dict_of_torchvision_is_published(cluster: Cluster, zoo_import: Run, tmp_path: Path):
    torch.manual_seed(1)
    torch.save(torchvision_resnet(), tmp_path / "mine.pth")
    said = json.loads(zoo_import("torchvision", "resnet18", "mine.pth", f"{SPACE}/resnet", "--json").stdout)
    assert said["architecture"] == "ResNetForImageClassification"
    assert said["source"] == f"mine.pth sha256:{hashlib.sha256((tmp_path / 'mine.pth').read_bytes()).hexdigest()}"
    with cluster.client() as zoo:
        assert "torchvision" in zoo.model(f"{SPACE}/resnet").card


def test_a_namespace_that_is_missing_is_told_before_anything_is_converted(zoo_import: Run, tmp_path: Path):
    (tmp_path / "mine.pth").write_bytes(b"never looked at")
    done = zoo_import("torchvision", "resnet18", "mine.pth", "nowhere/resnet", rc=3)
    assert "NAMESPACE_NOT_FOUND" in done.stderr
    assert "--create-namespace" in done.stderr
    assert "converting" not in done.stderr


def test_state_dict_that_does_not_fit_is_refused_with_what_is_wrong(
    cluster: Cluster, zoo_import: Run, answers: HealthyStream, tmp_path: Path
):
    state = torchvision_resnet()
    del state["layer3.0.bn1.weight"]
    torch.save(state | {"extra.bias": torch.zeros(1), "fc.bias": torch.zeros(5)}, tmp_path / "mine.pth")
    with answers.beside():
        done = zoo_import("torchvision", "resnet18", "mine.pth", f"{SPACE}/misfit", rc=6)
    assert "STATE_DICT_MISMATCH" in done.stderr
    for wrong in ("1 missing: 'layer3.0.bn1.weight'", "'extra.bias'", "'fc.bias'"):
        assert wrong in done.stderr
    with cluster.client() as zoo, pytest.raises(NotFound):
        zoo.version(f"{SPACE}/misfit")


@pytest.mark.parametrize("form", ["hf", "torchvision"])
def test_malicious_checkpoint_runs_nothing_and_is_not_published(
    cluster: Cluster, zoo_import: Run, answers: HealthyStream, tmp_path: Path, form: str
):
    folder = tiny_gpt2(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    file = folder / "pytorch_model.bin"
    torch.save({"a": torch.zeros(2), "b": Evil(tmp_path / "ran")}, file)
    words = ("hf", folder) if form == "hf" else ("torchvision", "resnet18", file)
    with answers.beside():
        done = zoo_import(*words, f"{SPACE}/evil-{form}", rc=6)
    assert "PICKLE_REFUSED" in done.stderr
    assert not (tmp_path / "ran").exists()
    with cluster.client() as zoo, pytest.raises(NotFound):
        zoo.version(f"{SPACE}/evil-{form}")


def test_dry_run_shows_what_would_be_published_and_keeps_it(cluster: Cluster, zoo_import: Run, tmp_path: Path):
    folder = tiny_gpt2(tmp_path / "My Model")
    done = zoo_import("hf", folder, f"{SPACE}/dry", "--dry-run", "--keep", "kept", "--license", "mit", ZOO_URL="")
    assert done.stdout.startswith(f"{SPACE}/dry  GPT2LMHeadModel, ")
    assert "  model.safetensors\n" in done.stdout
    assert "nothing was pushed" in done.stderr
    assert (tmp_path / "kept" / "README.md").read_text().startswith('---\nlicense: "mit"\n')
    assert list((tmp_path / "cache" / "imports").iterdir()) == []
    with cluster.client() as zoo, pytest.raises(NotFound):
        zoo.version(f"{SPACE}/dry")


@pytest.mark.parametrize(
    ("words", "settings", "code", "reason"),
    [
        (["torchvision", "resnet18"], {}, 1, "DOWNLOAD_CORRUPT"),
        (["torchvision", "alexnet"], {}, 3, "SOURCE_NOT_FOUND"),
        (["torchvision", "vgg16"], {}, 6, "CHECKPOINT_UNSUPPORTED"),
        (["torchvision", "resnet18", "none.pth"], {}, 6, "LOCAL_PATH_INVALID"),
        (["hf", "nobody/none"], {}, 3, "SOURCE_NOT_FOUND"),
        (["hf", "nobody/none"], {"HF_HUB_OFFLINE": "1"}, 5, "SOURCE_UNAVAILABLE"),
        (["hf", "./none"], {}, 6, "LOCAL_PATH_INVALID"),
        (["gguf", "none.gguf"], {}, 6, "LOCAL_PATH_INVALID"),
        (["hf", "gpt2", "a/b/c"], {}, 6, "REFERENCE_INVALID"),
    ],
)
def test_failures_say_why(
    zoo_import: Run, server: HubServer, words: list[str], settings: dict[str, str], code: int, reason: str
):
    server.files["/models/resnet18-f37072fd.pth"] = b"not the published weights"
    assert reason in zoo_import(*words, "--dry-run", rc=code, **settings).stderr


def torchvision_resnet() -> dict[str, torch.Tensor]:
    """A state dict with torchvision's names for an 18-layer ResNet of three classes, random values."""
    model = ResNetForImageClassification(
        ResNetConfig(depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], layer_type="basic", num_labels=3)
    )
    return {torchvision_name(name): tensor for name, tensor in model.state_dict().items()}


def torchvision_name(name: str) -> str:
    parts = name.removeprefix("resnet.").split(".")
    if parts[0] == "classifier":
        return f"fc.{parts[-1]}"
    kinds = {"convolution": "conv", "normalization": "bn"}
    if parts[0] == "embedder":
        return f"{kinds[parts[2]]}1.{parts[-1]}"
    stage, block = int(parts[2]) + 1, parts[4]
    if parts[5] == "shortcut":
        return f"layer{stage}.{block}.downsample.{['convolution', 'normalization'].index(parts[6])}.{parts[-1]}"
    return f"layer{stage}.{block}.{kinds[parts[7]]}{int(parts[6]) + 1}.{parts[-1]}"
