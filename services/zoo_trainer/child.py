"""The child process: `python -m zoo_trainer.child FOLDER AGENT_PID EVENTS_FD`. One attempt, and the end.

It is in a process group of its own. It takes orders on standard input, and kills its group when that ends, as it does
with the agent; the kernel kills it, too. Events go to the descriptor; what is printed is the agent's to keep.

Where the job is of several processes, this is the first of them, and starts the others.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_trainer.companions import Companions
from zoo_trainer.limits import die_with_parent, limit_memory
from zoo_trainer.report import Report
from zoo_trainer.stopping import Orders, die_alone, follow
from zoo_trainer.task import PRINCIPAL, Task, read_task

if TYPE_CHECKING:
    from zoo.training.v1.trainer_service_pb2 import ReleaseJobRequest

__all__ = ["main", "make_ready", "work"]


def main(folder: Path, agent_pid: int, events: int) -> None:
    die_with_parent(agent_pid)
    orders = Orders()
    follow(sys.stdin, orders, orphaned=die_alone)
    task = make_ready(folder)
    with os.fdopen(events, "w", encoding="utf-8") as stream:
        report = Report(stream)
        companions = Companions.start(folder, task.processes, report)
        report.release(companions.conclude(work(task, report, orders, 0, folder)))


def make_ready(folder: Path) -> Task:
    """Read the task, and see that this process keeps to its share of what the task may use."""
    # Nothing but the artifact service is fetched from; threads that wait sleep.
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    task = read_task(folder)
    limit_memory(task.place.memory_bytes // task.processes)
    os.environ["OMP_NUM_THREADS"] = str(_threads(task))
    if task.processes == 1:  # or libraries would part batches among all that they see
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    return task


def work(task: Task, report: Report, orders: Orders, rank: int, meeting: Path) -> "ReleaseJobRequest":
    """This rank's part of the attempt; the ranks meet in the folder."""
    import torch
    from transformers.utils import logging

    from modelzoo.upload import Base
    from zoo_server.peers import open_sync_peer
    from zoo_trainer.course import run_attempt
    from zoo_trainer.credential import PrincipalFile
    from zoo_trainer.pushing import ArtifactPushes
    from zoo_trainer.ranks import join

    torch.set_num_threads(_threads(task))
    logging.disable_progress_bar()
    base = task.lease.base
    known = Base(base.reference.partition("/")[0], base.manifest_digest)
    with open_sync_peer(task.place.artifact, PrincipalFile(task.folder / PRINCIPAL)) as channel:
        pushes = ArtifactPushes(channel, task.namespace, known)
        return run_attempt(
            task, report, pushes, orders, meet=lambda: join(rank, task.processes, meeting / "rendezvous")
        )


def _threads(task: Task) -> int:
    return max(1, task.place.threads // task.processes)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
