"""The Job that makes a cluster's credentials, against an API server that keeps Secrets as Kubernetes does."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from modelzoo.errors import Unavailable
from zoo_kubernetes.api import ApiSecrets
from zoo_kubernetes.secrets import ALL, ensure_secrets, secrets_of
from zoo_server.principal import Signer

SECRETS = "/api/v1/namespaces/zoo/secrets"


class ApiServer(ThreadingHTTPServer):
    """Secrets by name; `dies_after` makes every request after so many a failure."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.secrets: dict[str, dict[str, str]] = {}
        self.dies_after = 1_000
        self.lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer

    def do_GET(self) -> None:
        with self.server.lock:
            files = self.server.secrets.get(self.path.removeprefix(f"{SECRETS}/"))
        encoded = {name: base64.b64encode(text.encode()).decode() for name, text in (files or {}).items()}
        self._answer(404 if files is None else 200, {"data": encoded})

    def do_POST(self) -> None:
        secret = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            is_new = secret["metadata"]["name"] not in self.server.secrets
            if is_new and self.path == SECRETS and self.server.dies_after > 1:
                self.server.secrets[secret["metadata"]["name"]] = secret["stringData"]
        self._answer(201 if is_new else 409, secret)

    def _answer(self, status: int, content: Any) -> None:
        self.server.dies_after -= 1
        if self.headers["authorization"] != "Bearer token-of-the-pod":
            status = 401
        if self.server.dies_after <= 0:
            status = 500
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def account(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("token-of-the-pod\n")
    (tmp_path / "namespace").write_text("zoo")
    return tmp_path


@pytest.fixture
def secrets(server: ApiServer, account: Path) -> ApiSecrets:
    return ApiSecrets(f"http://127.0.0.1:{server.server_port}", account)


def test_all_secrets_are_made_at_the_first_start_and_none_at_the_second(server: ApiServer, secrets: ApiSecrets) -> None:
    made = ensure_secrets(secrets)
    before = json.dumps(server.secrets)
    assert set(made) == set(server.secrets) == {ALL, *secrets_of(server.secrets[ALL])}
    assert ensure_secrets(secrets) == []
    assert json.dumps(server.secrets) == before


@pytest.mark.parametrize("requests", range(1, 13))
def test_a_run_that_died_is_ended_by_the_next_with_the_same_credentials(
    server: ApiServer, secrets: ApiSecrets, requests: int
) -> None:
    server.dies_after = requests
    with pytest.raises(Unavailable):
        ensure_secrets(secrets)
    kept = dict(server.secrets)
    server.dies_after = 1_000
    ensure_secrets(secrets)
    assert kept.items() <= server.secrets.items()
    assert server.secrets == {ALL: server.secrets[ALL], **secrets_of(server.secrets[ALL])}


def test_a_secret_that_an_operator_made_is_left_alone(server: ApiServer, secrets: ApiSecrets) -> None:
    server.secrets["zoo-s3"] = {"access_key": "mine", "secret_key": "own"}
    assert "zoo-s3" not in ensure_secrets(secrets)
    assert server.secrets["zoo-s3"] == {"access_key": "mine", "secret_key": "own"}


def test_every_identity_is_one_that_the_trust_file_knows(
    server: ApiServer, secrets: ApiSecrets, tmp_path: Path
) -> None:
    ensure_secrets(secrets)
    trusted = {key["public_key"] for key in json.loads(server.secrets["zoo-trust"]["trust.json"])["keys"]}
    for name in ("gateway", "catalog", "worker", "training", "trainer"):
        path = tmp_path / f"{name}.json"
        path.write_text(server.secrets[f"zoo-identity-{name}"]["identity.json"])
        path.chmod(0o600)
        assert base64.b64encode(Signer.load(path).public_key()).decode() in trusted


def test_credentials_of_an_older_release_are_said_to_be_so(server: ApiServer, secrets: ApiSecrets) -> None:
    ensure_secrets(secrets)
    server.secrets = {ALL: {name: text for name, text in server.secrets[ALL].items() if name != "training.json"}}
    with pytest.raises(RuntimeError, match=r"lacks training\.json: delete it"):
        ensure_secrets(secrets)


def test_a_refusal_of_the_api_server_is_said(server: ApiServer, account: Path) -> None:
    (account / "token").write_text("of somebody else")
    with pytest.raises(Unavailable, match="401"):
        ensure_secrets(ApiSecrets(f"http://127.0.0.1:{server.server_port}", account))
