"""Published models are fetched as they are published, or not at all."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelzoo.convert.download import Digest, Remote, fetch
from modelzoo.convert.hub import Hub, fetch_model
from modelzoo.convert.layout import find_layout
from modelzoo.convert.published import fetch_torchvision
from modelzoo.errors import DataLoss, InvalidArgument, NotFound, PermissionDenied, Unavailable, ZooError
from modelzoo.progress import Silence
from support.hub_server import COMMIT, HubServer, hub_server

CONTENT = bytes(range(256)) * 20_000
PATH = "/models/net.pth"
MODEL = "openai-community/gpt2"


class Counted:
    """A Progress that adds up."""

    def __init__(self) -> None:
        self.total = self.moved = self.skipped = 0

    def start(self, total_bytes: int) -> None:
        self.total += total_bytes

    def skip(self, count_bytes: int) -> None:
        self.skipped += count_bytes

    def advance(self, count_bytes: int) -> None:
        self.moved += count_bytes


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    # Tests run with HF_HUB_OFFLINE=1, which huggingface_hub reads once; this hub is on this machine.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with hub_server() as server:
        server.files[PATH] = CONTENT
        yield server


@pytest.fixture
def remote(server: HubServer) -> Remote:
    return Remote(f"{server.url}{PATH}", Digest("sha256", hashlib.sha256(CONTENT).hexdigest()[:8]))


def write_model(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode() * 9)
    return folder


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


def test_file_is_fetched_once(server: HubServer, remote: Remote, tmp_path: Path):
    progress = Counted()
    for _ in range(2):
        fetch(remote, tmp_path / "net.pth", progress)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert (len(server.seen), progress.moved, progress.skipped) == (1, len(CONTENT), len(CONTENT))


def test_broken_download_goes_on_where_it_was(server: HubServer, remote: Remote, tmp_path: Path):
    server.breaks[PATH] = 1_000_000
    progress = Counted()
    fetch(remote, tmp_path / "net.pth", progress)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert [seen.range for seen in server.seen] == [None, "bytes=1000000-"]
    assert progress.moved == len(CONTENT)


def test_download_goes_on_in_the_next_run(server: HubServer, remote: Remote, tmp_path: Path):
    (tmp_path / ".net.pth.part").write_bytes(CONTENT[:123_456])
    progress = Counted()
    fetch(remote, tmp_path / "net.pth", progress)
    assert [seen.range for seen in server.seen] == ["bytes=123456-"]
    assert (progress.skipped, progress.moved) == (123_456, len(CONTENT) - 123_456)


def test_part_that_has_all_bytes_is_taken(server: HubServer, remote: Remote, tmp_path: Path):
    (tmp_path / ".net.pth.part").write_bytes(CONTENT)
    fetch(remote, tmp_path / "net.pth", Silence())
    assert left_in(tmp_path) == {"net.pth"}


@pytest.mark.parametrize("ignores_ranges", [False, True])
def test_part_of_another_file_is_replaced(server: HubServer, remote: Remote, tmp_path: Path, ignores_ranges: bool):
    server.ignores_ranges = ignores_ranges
    (tmp_path / ".net.pth.part").write_bytes(b"other" * 1000)
    progress = Counted()
    fetch(remote, tmp_path / "net.pth", progress)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert progress.skipped + progress.moved == len(CONTENT)


def test_wrong_digest_keeps_nothing(server: HubServer, remote: Remote, tmp_path: Path):
    server.damaged.add(PATH)
    with pytest.raises(DataLoss, match="published digest") as caught:
        fetch(remote, tmp_path / "net.pth", Silence())
    assert (caught.value.reason, left_in(tmp_path)) == ("DOWNLOAD_CORRUPT", set())


def test_kept_file_that_was_damaged_since_is_fetched_again(remote: Remote, tmp_path: Path):
    (tmp_path / "net.pth").write_bytes(b"\0" + CONTENT[1:])
    fetch(remote, tmp_path / "net.pth", Silence())
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


def test_torchvision_file_is_fetched_under_its_name(server: HubServer, tmp_path: Path):
    name = f"net-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"
    server.files[f"/models/{name}"] = CONTENT
    progress = Counted()
    found = fetch_torchvision("net", tmp_path, progress, base_url=f"{server.url}/models", files={"net": name})
    assert (found, found.read_bytes()) == (tmp_path / name, CONTENT)
    assert progress.total == progress.moved == len(CONTENT)


def test_torchvision_names_carry_their_digest(server: HubServer, tmp_path: Path):
    server.files["/models/resnet18-f37072fd.pth"] = CONTENT
    with pytest.raises(DataLoss, match="f37072fd"):
        fetch_torchvision("resnet18", tmp_path, Silence(), base_url=f"{server.url}/models/")
    with pytest.raises(NotFound) as caught:
        fetch_torchvision("alexnet", tmp_path, Silence(), base_url=f"{server.url}/models")
    assert "alexnet-owt-7be5be79.pth" in caught.value.message
    with pytest.raises(InvalidArgument, match="resnet152"):
        fetch_torchvision("vgg16", tmp_path, Silence())


def test_hub_gives_the_needed_files_by_the_models_full_name(server: HubServer, tmp_path: Path):
    wanted = {
        "README.md",
        "LICENSE",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer.model",
        "my notes.md",
    }
    others = ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "onnx/model.onnx", "onnx/config.json", "run.py")
    server.models[MODEL] = write_model(tmp_path / "hub", *wanted, *others)
    progress = Counted()
    found = fetch_model(Hub(server.url), "gpt2", "main", tmp_path / "cache", progress)
    assert (found.model, found.commit, found.licence) == (MODEL, COMMIT, "mit")
    assert (set(server.fetched()), left_in(found.folder)) == (wanted, wanted)
    assert {*found.left_out} == {*others}
    assert progress.total == progress.moved == sum((tmp_path / "hub" / name).stat().st_size for name in wanted)


def test_hub_gives_the_shards_that_the_index_names(server: HubServer, tmp_path: Path):
    hub = write_model(tmp_path / "hub", "config.json", "a-1.bin", "a-2.bin", "pytorch_model-00001-of-00009.bin")
    (hub / "pytorch_model.bin.index.json").write_text('{"weight_map": {"x": "a-1.bin", "y": "a-2.bin"}}')
    server.models[MODEL] = hub
    found = fetch_model(Hub(server.url), MODEL, "main", tmp_path / "cache", Silence())
    assert left_in(found.folder) == {"config.json", "a-1.bin", "a-2.bin", "pytorch_model.bin.index.json"}


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_hub_file_of_another_digest_is_refused(server: HubServer, tmp_path: Path, name: str):
    server.models[MODEL] = write_model(tmp_path / "hub", "config.json", "model.safetensors")
    server.damaged |= {f"/{MODEL}/resolve/{COMMIT}/{name}", f"/bytes/{MODEL}//{name}"}
    with pytest.raises(DataLoss) as caught:
        fetch_model(Hub(server.url), MODEL, "main", tmp_path / "cache", Silence())
    assert caught.value.reason == "DOWNLOAD_CORRUPT"
    assert name not in left_in(tmp_path / "cache" / MODEL.replace("/", "--") / COMMIT)


def test_token_opens_a_gated_model_and_goes_to_the_hub_alone(server: HubServer, tmp_path: Path):
    server.models[MODEL] = write_model(tmp_path / "hub", "config.json", "model.safetensors")
    server.gated.add(MODEL)
    with pytest.raises(PermissionDenied, match="HF_TOKEN"):
        fetch_model(Hub(server.url), MODEL, "main", tmp_path / "cache", Silence())
    server.seen.clear()
    fetch_model(Hub(server.url, server.token), MODEL, "main", tmp_path / "cache", Silence())
    assert {seen.token for seen in server.seen if seen.path.startswith("/bytes/")} == {None}
    assert {seen.token for seen in server.seen if "/resolve/" in seen.path} == {server.token}


@pytest.mark.parametrize(
    ("model", "revision", "error", "words"),
    [
        ("nobody/nothing", "main", NotFound, "check the spelling"),
        (MODEL, "v9", NotFound, "no revision 'v9'"),
        ("a b", "main", InvalidArgument, "no name of a model"),
    ],
)
def test_hub_that_has_no_such_thing(
    server: HubServer, tmp_path: Path, model: str, revision: str, error: type[ZooError], words: str
):
    server.models[MODEL] = write_model(tmp_path / "hub", "config.json", "model.safetensors")
    with pytest.raises(error, match=words):
        fetch_model(Hub(server.url), model, revision, tmp_path / "cache", Silence())


def test_hub_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(Unavailable) as caught:
        fetch_model(Hub("http://127.0.0.1:1"), MODEL, "main", tmp_path, Silence())
    assert caught.value.reason == "SOURCE_UNAVAILABLE"


def test_hub_is_left_alone_where_the_environment_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE is set"):
        fetch_model(Hub("http://127.0.0.1:1"), MODEL, "main", tmp_path, Silence())


def test_hub_cannot_name_a_file_outside_the_cache(server: HubServer, tmp_path: Path):
    hub = write_model(tmp_path / "hub", "config.json")
    (hub / "model.safetensors.index.json").write_text('{"weight_map": {"x": "../../evil.safetensors"}}')
    server.models[MODEL] = hub
    with pytest.raises(InvalidArgument, match="missing"):
        fetch_model(Hub(server.url), MODEL, "main", tmp_path / "cache", Silence())


@pytest.mark.parametrize("names", [["config.json"], ["adapter_config.json", "adapter_model.safetensors"], []])
def test_directory_without_weights_says_what_was_looked_for(names: list[str]):
    with pytest.raises(InvalidArgument, match=r"model\.safetensors|zoo push"):
        find_layout(names, lambda _: {})
