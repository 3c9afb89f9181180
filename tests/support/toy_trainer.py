"""The process `zoo-trainer`, but for its child, which learns nothing and needs no torch.

python toy_trainer.py [FILE]    where FILE is said a child makes it at its end; where it is there already, the child
                                writes its job's name into it and hangs
"""

import asyncio
import os
import sys
import threading
from pathlib import Path

from modelzoo.tree import read_tree
from modelzoo.upload import upload
from zoo.training.v1 import job_pb2
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo_server.peers import open_sync_peer
from zoo_trainer.credential import PrincipalFile
from zoo_trainer.limits import die_with_parent
from zoo_trainer.report import Report
from zoo_trainer.stopping import Orders, die_alone, follow
from zoo_trainer.task import PRINCIPAL, read_task


def main(file: str) -> None:
    from zoo_trainer.main import serve
    from zoo_trainer.settings import Settings

    asyncio.run(serve(Settings(), (sys.executable, __file__, "child", file)))  # type: ignore[call-arg]


def child(file: str, folder: Path, agent: int, events: int) -> None:
    """Pushes a "model" that is as good as its learning rate is large."""
    die_with_parent(agent)
    follow(sys.stdin, Orders(), orphaned=die_alone)
    task = read_task(folder)
    report = Report(os.fdopen(events, "w"))
    report.log("begun")
    if file and Path(file).exists():
        Path(file).write_text(task.lease.job.name)
        threading.Event().wait()
    rate = task.lease.job.spec.parameters["learning_rate"]
    made = folder / "made"
    made.mkdir()
    (made / "weights.bin").write_text(str(rate))
    with open_sync_peer(task.place.artifact, PrincipalFile(folder / PRINCIPAL)) as channel:
        digest = upload(channel, read_tree(made), task.namespace, format="transformers").digest
    measured = job_pb2.Measured(metric="accuracy", before=0.1, after=0.5 + rate, split="test", items=24)
    result = pb.Result(manifest_digest=digest, measured=[measured])
    report.release(pb.ReleaseJobRequest(outcome=pb.OUTCOME_TRAINED, result=result))
    if file:
        Path(file).touch()


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
    else:
        main(*sys.argv[1:] or [""])
