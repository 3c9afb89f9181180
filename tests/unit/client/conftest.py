"""A zoo of real services in this process, a client of it, and directories to push."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner, Result

from modelzoo.client import Client
from modelzoo.command.main import make_app
from support.fake_workers import FakeInference
from support.front_door import FrontDoor
from support.published import CHAT
from support.toy_jobs import ToyTraining
from support.zoo_in_process import zoo_in_process


@pytest.fixture
def inference() -> FakeInference:
    return FakeInference()


@pytest.fixture
def training() -> ToyTraining:
    return ToyTraining()


@pytest.fixture
def handlers(inference: FakeInference) -> Sequence[grpc.GenericRpcHandler]:
    """What answers beside the real services."""
    return inference.handlers()


@pytest.fixture
def door(
    tmp_path: Path, handlers: Sequence[grpc.GenericRpcHandler], monkeypatch: pytest.MonkeyPatch
) -> Iterator[FrontDoor]:
    services = tmp_path / "services"
    services.mkdir()
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    with zoo_in_process(services, handlers) as door:
        yield door


@pytest.fixture
def client(door: FrontDoor) -> Iterator[Client]:
    """The administrator's, in a zoo with the namespace `team`."""
    with Client(door.url, "admin-key") as client:
        client.create_namespace("team")
        yield client


@pytest.fixture(scope="session")
def standing_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    """A zoo that stands for all tests that use it, with the namespace `team`; each names its models for itself."""
    with zoo_in_process(tmp_path_factory.mktemp("standing")) as door:
        with Client(door.url, "admin-key") as client:
            client.create_namespace("team")
        yield door


@pytest.fixture
def standing(standing_door: FrontDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """The administrator of the standing zoo, with an empty cache; the door has counted nothing yet."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    standing_door.bytes_down, standing_door.damage = 0, ""
    standing_door.requests.clear()
    with Client(standing_door.url, "admin-key") as client:
        yield client


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """Writes files of those contents by path, and gives their directory."""

    def write(files: dict[str, bytes], name: str = "tree") -> Path:
        root = tmp_path / name
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        return root

    return write


@pytest.fixture
def zoo(client: Client, door: FrontDoor, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command as the administrator of a zoo with the namespace `team`."""
    monkeypatch.setenv("ZOO_URL", door.url)
    monkeypatch.setenv("ZOO_KEY", "admin-key")
    app = make_app()
    return lambda *words, stdin=None: CliRunner().invoke(app, [str(word) for word in words], input=stdin)


@pytest.fixture
def chat(zoo: Callable[..., Result], tree: Callable[..., Path]) -> Callable[..., Result]:
    """The same, with `team/chat` published."""
    assert zoo("push", tree(CHAT, "chat"), "team/chat").exit_code == 0
    return zoo
