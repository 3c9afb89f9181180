"""The child process: `python -m zoo_trainer.child FOLDER AGENT_PID EVENTS_FD`. One attempt, and the end.

It is in a process group of its own. It takes orders on standard input, and kills its group when that ends, as it does
with the agent; the kernel kills it, too. Events go to the descriptor; what is printed is the agent's to keep.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_trainer.limits import die_with_parent, limit_memory
from zoo_trainer.stopping import Orders, die_alone, follow

if TYPE_CHECKING:
    from zoo.training.v1.trainer_service_pb2 import ReleaseJobRequest
    from zoo_trainer.report import Report
    from zoo_trainer.task import Task

__all__ = ["main"]


def main(folder: Path, agent_pid: int, events: int) -> None:
    die_with_parent(agent_pid)
    orders = Orders()
    follow(sys.stdin, orders, orphaned=die_alone)
    # Nothing but the artifact service is fetched from; threads that wait sleep.
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from zoo_trainer.task import read_task

    task = read_task(folder)
    limit_memory(task.place.memory_bytes)
    os.environ["OMP_NUM_THREADS"] = str(task.place.threads)
    from zoo_trainer.report import Report

    with os.fdopen(events, "w", encoding="utf-8") as stream:
        report = Report(stream)
        report.release(_attempt(task, report, orders))


def _attempt(task: "Task", report: "Report", orders: Orders) -> "ReleaseJobRequest":
    import torch
    from transformers.utils import logging

    from modelzoo.upload import Base
    from zoo_server.peers import open_sync_peer
    from zoo_trainer.course import run_attempt
    from zoo_trainer.credential import PrincipalFile
    from zoo_trainer.pushing import ArtifactPushes
    from zoo_trainer.task import PRINCIPAL

    torch.set_num_threads(task.place.threads)
    logging.disable_progress_bar()
    base = task.lease.base
    known = Base(base.reference.partition("/")[0], base.manifest_digest)
    with open_sync_peer(task.place.artifact, PrincipalFile(task.folder / PRINCIPAL)) as channel:
        return run_attempt(task, report, ArtifactPushes(channel, task.namespace, known), orders)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
