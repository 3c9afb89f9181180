"""One running process: in a session of its own, bound to the life of this one, its output taken to a log."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, STDOUT
from asyncio.subprocess import Process as Subprocess
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self

import psutil

from zoo_local.output import ProcessLog
from zoo_local.processes import Process

__all__ = ["Child"]

BOND = str(Path(__file__).with_name("bond.py"))
CHUNK_BYTES = 64 * 1024
# Output that is still in the pipe when its writers are gone takes no time to read.
LAST_OUTPUT_S = 2.0


class Child:
    """Make with `start`. However it ends, everything in its session's process group ends with it."""

    def __init__(self, subprocess: Subprocess, output: BinaryIO, log: ProcessLog) -> None:
        self.pid = subprocess.pid
        self.start_time = _start_time(subprocess.pid)
        self._subprocess = subprocess
        self._pump = asyncio.create_task(_pump(output, log))
        self._ended = asyncio.create_task(self._wait())

    @classmethod
    async def start(cls, process: Process, cwd: Path, log: ProcessLog) -> Self:
        # Not asyncio's own pipe: its wait() would not return while a grandchild holds that open.
        reading, writing = os.pipe()
        try:
            subprocess = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", BOND, str(os.getpid()), *process.argv),
                stdin=DEVNULL,
                stdout=writing,
                stderr=STDOUT,
                env=dict(process.env),
                cwd=cwd,
                start_new_session=True,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        return cls(subprocess, os.fdopen(reading, "rb", buffering=0), log)

    async def ended(self) -> int:
        """Its exit status, negative for a signal, once it and what it left behind are gone and its output is read."""
        return await asyncio.shield(self._ended)

    async def stop(self, within_s: float) -> bool:
        """Ask it to end, make it after `within_s`; True where asking was enough."""
        with suppress(ProcessLookupError):
            self._subprocess.terminate()
        try:
            async with asyncio.timeout(within_s):
                await self.ended()
        except TimeoutError:
            self.kill()
            await self.ended()
            return False
        return True

    def kill(self) -> None:
        """SIGKILL for it and what it started. Doing it again is harmless."""
        if self._subprocess.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def _wait(self) -> int:
        status = await self._subprocess.wait()
        # What it started must neither outlive it nor keep its output open.
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await asyncio.wait([self._pump], timeout=LAST_OUTPUT_S)
        self._pump.cancel()
        return status


async def _pump(output: BinaryIO, log: ProcessLog) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), output)
    try:
        while chunk := await reader.read(CHUNK_BYTES):
            log.write(chunk)
    finally:
        transport.close()


def _start_time(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:  # ended already
        return 0.0
