"""A child as the agent sees it: started, told, listened to, ended. It never outlives the agent."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from zoo.training.v1 import event_pb2 as pb
from zoo.training.v1 import trainer_service_pb2 as trainer_pb
from zoo_trainer.exits import exit_in_words
from zoo_trainer.report import read_line
from zoo_trainer.stopping import Order

__all__ = ["CHILD", "ChildProcess"]

CHILD = (sys.executable, "-m", "zoo_trainer.child")

LINE_BYTES_MAX = 16 * 1024 * 1024
LOG = "child.log"
LOG_TAIL_BYTES = 8_000
# Of the agent's environment; the rest may hold what a recipe, or a library below it, has no business with.
_INHERITED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "OMP_WAIT_POLICY",
    # Of a Ray cluster that lets nobody in without one.
    "RAY_AUTH_MODE",
    "RAY_AUTH_TOKEN_PATH",
)


class ChildProcess:
    """Runs an attempt whose task lies in a folder."""

    def __init__(self, process: Process, events: asyncio.StreamReader, folder: Path) -> None:
        self._process = process
        self._events = events
        self._folder = folder

    @classmethod
    async def start(cls, command: Sequence[str], folder: Path, threads: int) -> "ChildProcess":
        """Run the command with the folder, this process's id and the descriptor for events behind it.

        To be called on the main thread: the child dies with the thread that starts it.
        """
        reading, writing = os.pipe()
        try:
            with (folder / LOG).open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    str(folder),
                    str(os.getpid()),
                    str(writing),
                    stdin=PIPE,
                    stdout=log,
                    stderr=log,
                    pass_fds=(writing,),
                    process_group=0,
                    cwd=folder,
                    env=_environment(os.environ, threads),
                )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        stream = asyncio.StreamReader(limit=LINE_BYTES_MAX)
        protocol = asyncio.StreamReaderProtocol(stream)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(reading, "rb", 0))
        return cls(process, stream, folder)

    async def messages(self) -> AsyncIterator[pb.Event | trainer_pb.ReleaseJobRequest]:
        """What it says, until it has ended."""
        while line := await self._events.readline():
            message = read_line(line.decode("utf-8", "replace"))
            if message is not None:
                yield message

    def tell(self, order: Order) -> None:
        """Harmless where it has ended."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.write(f"{order}\n".encode())

    def kill(self) -> None:
        """End it and all that it started, at once. Harmless where it has ended."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def wait(self) -> str:
        """Once it has ended: how, in words."""
        code = await self._process.wait()
        self.kill()  # what it started and left behind
        return exit_in_words(code)

    def said(self) -> str:
        """The end of what it and its libraries printed."""
        with (self._folder / LOG).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - LOG_TAIL_BYTES))
            return file.read().decode("utf-8", "replace").strip()


def _environment(own: Mapping[str, str], threads: int) -> dict[str, str]:
    return {
        **{name: own[name] for name in _INHERITED if name in own},
        # Recipes of others lie in the agent's own environment.
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(threads),
    }
