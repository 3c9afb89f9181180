"""A rank of a job on a Ray cluster: fetches for itself, and then does what any rank does."""

import os
import threading
import traceback
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

from modelzoo.cache import NodeCache
from modelzoo.errors import ZooError
from modelzoo.upload import Base
from zoo.training.v1 import event_pb2
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo_server.peers import open_sync_peer
from zoo_trainer.credential import PrincipalFile
from zoo_trainer.failures import failure_of
from zoo_trainer.fetching import Fetched, GivenUp, PulledSources
from zoo_trainer.ray_cluster import RayCluster
from zoo_trainer.report import RELEASE, Report
from zoo_trainer.stopping import Order, Orders
from zoo_trainer.task import PRINCIPAL, Place, Task
from zoo_trainer.workspace import Workspace

__all__ = ["work"]

ASK_S = 0.5


def work(config: dict[str, Any]) -> None:
    """`lease`: the lease, serialized; `cluster` and `artifact`: as the agent has them; `relay`: the actor."""
    import ray
    from ray import train

    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    context: Any = train.get_context()
    rank, relay = int(context.get_world_rank()), config["relay"]
    # Ray kills processes that it is done with: what they leave behind, whoever comes next on this node removes.
    work_dir = Path(RayCluster.from_text(config["cluster"]).work_dir)
    workspace = Workspace(work_dir, f"rank-{rank}-{uuid.uuid4().hex[:12]}")
    with closing(workspace), workspace.folder("attempt") as folder:
        listening = _Listening(ray, relay, folder / PRINCIPAL)
        report: Any = Report(_Stream(ray, relay, rank))  # pyright: ignore[reportArgumentType] - it writes alone
        try:
            report.release(_attempt(config, rank, int(context.get_world_size()), report, listening, folder))
        finally:
            listening.close()


def _attempt(
    config: dict[str, Any], rank: int, count: int, report: Report, listening: "_Listening", folder: Path
) -> pb.ReleaseJobRequest:
    lease = pb.Lease.FromString(config["lease"])
    cluster, artifact = RayCluster.from_text(config["cluster"]), config["artifact"]
    report.log(f"Fetching {lease.base.reference} and {lease.dataset.reference}.")
    sources = PulledSources(artifact, NodeCache(Path(cluster.cache_dir), cluster.cache_bytes))
    try:
        with sources.hold(lease, listening.principal, listening.stopped) as fetched:
            if fetched.lost:
                report.log(
                    f"The last checkpoint is not there any more ({fetched.lost}); training begins again at step 0.",
                    event_pb2.SEVERITY_WARNING,
                )
            task = Task(lease, _place(fetched, artifact, cluster), folder)
            return _train(task, rank, count, report, listening)
    except GivenUp:
        outcome = pb.OUTCOME_YIELDED if listening.orders.last is Order.YIELD else pb.OUTCOME_STOPPED
        return pb.ReleaseJobRequest(outcome=outcome)
    except (ZooError, OSError) as error:
        failure = failure_of(error)
        return pb.ReleaseJobRequest(outcome=failure.outcome, reason=failure.reason, message=failure.message)


def _train(task: Task, rank: int, count: int, report: Report, listening: "_Listening") -> pb.ReleaseJobRequest:
    import torch

    from zoo_trainer.course import run_attempt
    from zoo_trainer.pushing import ArtifactPushes
    from zoo_trainer.ranks import Ranks

    torch.set_num_threads(task.place.threads)
    base = task.lease.base
    known = Base(base.reference.partition("/")[0], base.manifest_digest)
    # Of several ranks, the first tells the others what it hears.
    orders = listening.orders if rank == 0 else Orders()
    with open_sync_peer(task.place.artifact, listening.principal) as channel:
        pushes = ArtifactPushes(channel, task.namespace, known)
        return run_attempt(task, report, pushes, orders, meet=lambda: Ranks(rank, count))


def _place(fetched: Fetched, artifact: str, cluster: RayCluster) -> Place:
    return Place(
        base=str(fetched.base),
        dataset=str(fetched.dataset),
        checkpoint=str(fetched.checkpoint or ""),
        artifact=artifact,
        threads=max(1, cluster.cpus),
        memory_bytes=0,
    )


class _Stream:
    """Lines of a report; of ranks other than the first, how they ended alone."""

    def __init__(self, ray: Any, relay: Any, rank: int) -> None:
        self._ray = ray
        self._relay = relay
        self._rank = rank

    def write(self, line: str) -> None:
        if self._rank == 0 or line.startswith(RELEASE):
            self._ray.get(self._relay.say.remote(self._rank, line))

    def flush(self) -> None:
        """It is there already."""


class _Listening:
    """Asks again and again what is wanted, and keeps the job's principal fresh in a file. Where there is nobody to ask
    any more, the driver is gone, and this process ends, too."""

    def __init__(self, ray: Any, relay: Any, path: Path) -> None:
        self.orders = Orders()
        self.principal = PrincipalFile(path)
        self.stopped = threading.Event()
        self._ray = ray
        self._relay = relay
        self._closed = threading.Event()
        self._ask()
        self._thread = threading.Thread(target=self._run, name="listening", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._closed.wait(ASK_S):
                self._ask()
        except (self._ray.exceptions.RayError, OSError):
            traceback.print_exc()
            os._exit(1)

    def _ask(self) -> None:
        order, token = self._ray.get(self._relay.ask.remote())
        self.principal.write(token)
        self.orders.last = Order(order)
        if self.orders.stop:
            self.stopped.set()
