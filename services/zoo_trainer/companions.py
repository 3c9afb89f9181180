"""The other processes of a training on this node: started by the first one, watched by it, and ended with it."""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from zoo.training.v1 import trainer_service_pb2 as pb
from zoo_trainer.exits import exit_in_words
from zoo_trainer.report import Report, read_line
from zoo_trainer.stopping import die_alone

__all__ = ["CRASHED", "GRACE_S", "NOTICE_S", "Companions", "environment_of", "is_failure", "of_rank"]

COMPANION = (sys.executable, "-m", "zoo_trainer.companion")
# What the first has, after another's end, to end by itself: it says more about what all of them stumbled over.
GRACE_S = 20.0
# What another's end may take to be noticed after the first has failed of it.
NOTICE_S = 5.0
# What crashes because another is gone comes, perhaps, a little before the other is known to be gone.
FOLLOWS_S = 2.0
CRASHED = "TRAINER_CRASHED"


class Companions:
    """They are in the process group of the first, and die with it however it ends. Its own `Report` tells how the
    attempt ended where one of them ends it while the first waits for all."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._cause: pb.ReleaseJobRequest | None = None
        self._fallen = threading.Event()
        self._concluded = threading.Event()

    @classmethod
    def start(cls, folder: Path, count: int, report: Report) -> "Companions":
        """To be called on the main thread, which they do not outlive; sets this process's own environment, too."""
        companions = cls(report)
        for rank in range(1, count):
            reading, writing = os.pipe()
            process = subprocess.Popen(
                [*COMPANION, str(folder), str(os.getpid()), str(writing), str(rank)],
                stdin=subprocess.DEVNULL,
                pass_fds=(writing,),
                env={**os.environ, **environment_of(rank, count)},
            )
            os.close(writing)
            watching = (rank, count, process, reading)
            threading.Thread(target=companions._watch, args=watching, name=f"rank-{rank}", daemon=True).start()
        os.environ |= environment_of(0, count)
        return companions

    def conclude(self, release: pb.ReleaseJobRequest) -> pb.ReleaseJobRequest:
        """How the attempt ended, the first having ended so: by the end of another, if that is what it failed of."""
        self._concluded.set()
        if release.reason != CRASHED or not self._fallen.wait(NOTICE_S):
            return release
        return self._cause or release

    def _watch(self, rank: int, count: int, process: subprocess.Popen[bytes], reading: int) -> None:
        release = pb.ReleaseJobRequest()
        with os.fdopen(reading, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                message = read_line(line)
                if isinstance(message, pb.ReleaseJobRequest):
                    release = message
        code = process.wait()
        if release.outcome and not is_failure(release):
            return  # it had done its part, however its libraries took their leave
        if is_failure(release):
            if release.reason == CRASHED:
                self._fallen.wait(FOLLOWS_S)
            self._fall(of_rank(rank, count, release))
            return
        lost = f"Process {rank + 1} of {count} {exit_in_words(code)}, and the others cannot go on without it."
        message = f"{lost} The job is tried again from the last checkpoint, as often as it allows."
        self._fall(pb.ReleaseJobRequest(outcome=pb.OUTCOME_FAILED, reason="PROCESS_LOST", message=message))

    def _fall(self, cause: pb.ReleaseJobRequest) -> None:
        with self._lock:
            if self._cause is not None:
                return
            self._cause = cause
            self._fallen.set()
        if not self._concluded.wait(GRACE_S):
            self._report.release(cause)
            die_alone()


def environment_of(rank: int, count: int) -> Mapping[str, str]:
    """What torchrun would set, as libraries look for it; nothing where there is but one."""
    if count == 1:
        return {}
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "GLOO_SOCKET_IFNAME": "lo",  # they are all on this node
    }


def is_failure(release: pb.ReleaseJobRequest) -> bool:
    return release.outcome in (pb.OUTCOME_FAILED, pb.OUTCOME_HOPELESS)


def of_rank(rank: int, count: int, end: pb.ReleaseJobRequest) -> pb.ReleaseJobRequest:
    """The same end, said to be that of one of several processes."""
    message = f"Process {rank + 1} of {count}: {end.message}"
    return pb.ReleaseJobRequest(outcome=end.outcome, reason=end.reason, message=message)
