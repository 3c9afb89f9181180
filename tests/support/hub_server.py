"""A local stand-in for the servers that publish models: the Hub's API and files, and plain files such as torchvision's.

As the Hub does it: old names redirect to new ones, large files (LFS) redirect to another host with their size and
SHA-256 in `X-Linked-*`, small ones come at once with their git digest as ETag, and ranges are honoured.
"""

import hashlib
import json
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

__all__ = ["HubServer", "hub_server"]

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LFS_SUFFIXES = (".safetensors", ".bin", ".h5", ".onnx", ".msgpack", ".model")
OLD_NAMES = {"gpt2": "openai-community/gpt2"}


@dataclass
class Seen:
    """A request that came: its path, and the headers that tests look at."""

    path: str
    range: str | None
    token: str | None


@dataclass
class HubServer:
    """`models` are directories by the model's name, `files` plain files by path. `damaged` paths are sent with a bit
    turned; `breaks` says after how many bytes the next response to a path ends early; `gated` models want `token`."""

    port: int
    models: dict[str, Path] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    breaks: dict[str, int] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    token: str = "hf_secret"
    ignores_ranges: bool = False
    seen: list[Seen] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def bytes_url(self) -> str:
        """Where large files are: another host, for whoever asks by name."""
        return f"http://localhost:{self.port}"

    def fetched(self) -> list[str]:
        """The names of the models' files that were asked for."""
        return [seen.path.split(f"/resolve/{COMMIT}/")[1] for seen in self.seen if "/resolve/" in seen.path]


@contextmanager
def hub_server() -> Generator[HubServer]:
    """A server on a free port, for the length of a block."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server = http.zoo = HubServer(http.server_address[1])  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> HubServer:
        return self.server.zoo  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        self.hub.seen.append(Seen(path, self.headers.get("Range"), token))
        if found := re.fullmatch(r"/api/models/(.+?)(/revision/(.+))?", path):
            self._model(found[1], found[3] or "main", token)
        elif found := re.fullmatch(r"/(.+?)/resolve/([0-9a-f]+)/(.+)", path):
            self._resolve(found[1], found[3], token)
        elif found := re.fullmatch(r"/bytes/(.+)", path):
            model, _, name = found[1].partition("//")
            self._send_bytes((self.hub.models[model] / name).read_bytes(), path)
        elif path in self.hub.files:
            self._send_bytes(self.hub.files[path], path)
        else:
            self._send(404, b"Not Found")

    def _model(self, model: str, revision: str, token: str | None) -> None:
        if model in OLD_NAMES:
            self._send(307, b"", {"Location": self.path.replace(model, OLD_NAMES[model], 1)})
        elif model not in self.hub.models:
            self._send(401, b'{"error": "Invalid username or password."}', {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", COMMIT):
            self._send(404, b'{"error": "Invalid rev id"}', {"X-Error-Code": "RevisionNotFound"})
        else:
            siblings = [_sibling(self.hub.models[model], path) for path in sorted(self.hub.models[model].rglob("*"))]
            told = {
                "id": model,
                "sha": COMMIT,
                "private": False,
                "gated": "auto" if model in self.hub.gated else False,
                "tags": [],
                "downloads": 0,
                "cardData": {"license": "mit"},
                "siblings": [sibling for sibling in siblings if sibling],
            }
            self._send(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _resolve(self, model: str, name: str, token: str | None) -> None:
        path = self.hub.models[model] / name
        if model in self.hub.gated and token != self.hub.token:
            self._send(403, b"Access to this model is restricted", {"X-Error-Code": "GatedRepo"})
        elif not path.is_file():
            self._send(404, b"Entry not found", {"X-Error-Code": "EntryNotFound"})
        elif name.endswith(LFS_SUFFIXES):
            content = path.read_bytes()
            linked = {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
            place = {"Location": f"{self.hub.bytes_url}/bytes/{model}//{quote(name)}", "X-Repo-Commit": COMMIT}
            self._send(302, b"", linked | place)
        else:
            content = path.read_bytes()
            self._send_bytes(content, self.path, {"ETag": f'"{_git_sha1(content)}"', "X-Repo-Commit": COMMIT})

    def _send_bytes(self, content: bytes, path: str, headers: dict[str, str] | None = None) -> None:
        if path in self.hub.damaged:
            content = bytes([content[0] ^ 1]) + content[1:]
        headers = {**(headers or {}), "Accept-Ranges": "bytes"}
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if start and not self.hub.ignores_ranges:
            offset = int(start[1])
            if offset >= len(content):
                self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
            headers["Content-Range"] = f"bytes {offset}-{len(content) - 1}/{len(content)}"
            self._send(206, content[offset:], headers, path)
        else:
            self._send(200, content, headers, path)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, path: str = "") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if path in self.hub.breaks:
            self.wfile.write(body[: self.hub.breaks.pop(path)])
            self.close_connection = True
        else:
            self.wfile.write(body)


def _sibling(root: Path, path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    content = path.read_bytes()
    told: dict[str, Any] = {"rfilename": path.relative_to(root).as_posix(), "size": len(content)}
    if path.name.endswith(LFS_SUFFIXES):
        digest = hashlib.sha256(content).hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()
        lfs = {"sha256": digest, "size": len(content), "pointerSize": len(pointer)}
        return {**told, "blobId": _git_sha1(pointer), "lfs": lfs}
    return {**told, "blobId": _git_sha1(content)}


def _git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
