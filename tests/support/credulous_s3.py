"""An S3 that looks at no signature, checksum or condition, and loses a bit of what it takes where it is told to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["credulous_s3"]


class TakesAnything(BaseHTTPRequestHandler):
    """What is put under a key with `damaged` in it is kept with another last bit."""

    objects: dict[str, bytes]
    protocol_version = "HTTP/1.1"

    def _answer(self, status: int, body: bytes = b"", size: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if size is None else size))
        if status == 206:
            self.send_header("Content-Range", f"bytes 4-8/{len(self.objects[self._key])}")
        self.end_headers()
        self.wfile.write(body)

    @property
    def _key(self) -> str:
        return self.path.partition("?")[0]

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.objects[self._key] = data[:-1] + bytes([data[-1] ^ 1]) if "damaged" in self._key else data
        self._answer(200)

    def do_HEAD(self) -> None:
        self._answer(200, size=len(self.objects.get(self._key, b"")))

    def do_GET(self) -> None:
        data = self.objects[self._key]
        self._answer(206, data[4:9]) if "Range" in self.headers else self._answer(200, data)

    def do_DELETE(self) -> None:
        self._answer(204)

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def credulous_s3() -> Iterator[str]:
    """Its endpoint."""
    handler = type("Handler", (TakesAnything,), {"objects": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
