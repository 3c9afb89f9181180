"""Whoever is asked for bytes gets no secret that is another's, and fills neither disk nor memory."""

import gzip
import hashlib
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from modelzoo.convert.download import Digest, Remote, fetch
from modelzoo.errors import DataLoss
from modelzoo.object_store import Failure, StoreConnection, StoreFailed
from modelzoo.progress import Silence

CONTENT = bytes(range(256)) * 4000
SECRETS = ("authorization", "cookie", "proxy-authorization")


@dataclass
class Elsewhere:
    """A server that answers every request with `status`, `headers` and `body`, and writes down what came."""

    port: int = 0
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = CONTENT
    endless: bool = False
    seen: list[dict[str, str]] = field(default_factory=list)

    def url(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/file"


@pytest.fixture
def servers() -> Iterator[tuple[Elsewhere, Elsewhere]]:
    pair = Elsewhere(), Elsewhere()
    running: list[tuple[ThreadingHTTPServer, threading.Thread]] = []
    for server in pair:
        http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
        server.port = http.server_address[1]
        running.append((http, threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})))
        running[-1][1].start()
    yield pair
    for http, thread in running:
        http.shutdown()
        thread.join()
        http.server_close()


def _handler(server: Elsewhere) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            server.seen.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(server.status)
            length = {} if server.endless else {"Content-Length": str(len(server.body))}
            for name, value in (length | server.headers).items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(server.body)
                while server.endless:
                    self.wfile.write(server.body)
            except ConnectionError:
                pass

    return Handler


def remote(server: Elsewhere, **given: Any) -> Remote:
    return Remote(server.url(), Digest("sha256", hashlib.sha256(CONTENT).hexdigest()), **given)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_token_goes_to_the_host_that_it_is_for_and_not_where_that_sends_us(
    servers: tuple[Elsewhere, Elsewhere], tmp_path: Path, status: int
):
    asked, other = servers
    asked.status, asked.headers, asked.body = status, {"Location": other.url("localhost")}, b""
    fetch(remote(asked, token="hf_secret"), tmp_path / "file", Silence())
    assert asked.seen[0]["authorization"] == "Bearer hf_secret"
    assert not any(secret in request for request in other.seen for secret in SECRETS)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_no_address_in_a_challenge_is_asked_for_anything(servers: tuple[Elsewhere, Elsewhere], tmp_path: Path):
    asked, other = servers
    asked.status, asked.headers = 401, {"WWW-Authenticate": f'Bearer realm="{other.url()}"'}
    with pytest.raises(Exception, match="not open to you"):
        fetch(remote(asked, token="hf_secret"), tmp_path / "file", Silence())
    assert other.seen == []


def test_a_reply_without_an_end_stops_at_the_published_size_and_leaves_nothing(
    servers: tuple[Elsewhere, Elsewhere], tmp_path: Path
):
    asked, _ = servers
    asked.endless = True
    with pytest.raises(DataLoss, match="more than the 3000000 bytes") as caught:
        fetch(remote(asked, at_most=3_000_000), tmp_path / "file", Silence())
    assert caught.value.reason == "DOWNLOAD_CORRUPT"
    assert {path.suffix for path in tmp_path.iterdir()} == {".lock"}


def test_a_compressed_reply_is_unfolded_by_nobody(servers: tuple[Elsewhere, Elsewhere], tmp_path: Path):
    asked, _ = servers
    asked.body, asked.headers = gzip.compress(bytes(100 << 20)), {"Content-Encoding": "gzip"}
    with pytest.raises(DataLoss, match="published digest"):
        fetch(remote(asked), tmp_path / "file", Silence())
    assert asked.seen[0]["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_signed_url_is_followed_nowhere_and_carries_nothing(servers: tuple[Elsewhere, Elsewhere], status: int):
    asked, other = servers
    asked.status, asked.headers, asked.body = status, {"Location": other.url()}, b""
    with closing(StoreConnection()) as connection:
        with pytest.raises(StoreFailed) as caught:
            list(connection.get(f"{asked.url()}?signature=x", 0, len(CONTENT)))
        assert caught.value.failure is Failure.WRONG
    assert not any(secret in request for request in asked.seen for secret in SECRETS)
    assert other.seen == []


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_a_signed_url_that_gives_another_number_of_bytes_gives_none(servers: tuple[Elsewhere, Elsewhere], size: int):
    with closing(StoreConnection()) as connection, pytest.raises(StoreFailed):
        list(connection.get(f"{servers[0].url()}?signature=x", 0, size))
