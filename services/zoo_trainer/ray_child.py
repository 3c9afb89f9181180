"""The driver of a job on a Ray cluster: `python -m zoo_trainer.ray_child CLUSTER FOLDER AGENT_PID EVENTS_FD`.

To the agent it is a child like another. It trains nothing itself: Ray Train starts the job's processes on the cluster,
and what they say comes here by an actor. It runs on a node of the cluster; Ray ends what it started when it ends.

Nothing is tried again here, nor by Ray: an attempt that lost a process ends, and the next one, of another epoch, goes
on from the last checkpoint. So whoever was only out of reach, and comes back, is refused by its epoch.
"""

import os
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from zoo.training.v1 import trainer_service_pb2 as pb
from zoo_trainer.companions import CRASHED, GRACE_S, NOTICE_S, is_failure, of_rank
from zoo_trainer.credential import PrincipalFile
from zoo_trainer.limits import die_with_parent
from zoo_trainer.ray_cluster import RayCluster
from zoo_trainer.ray_relay import Line, Relay
from zoo_trainer.report import Report, read_line
from zoo_trainer.stopping import Order, Orders, Stopped, die_alone, follow
from zoo_trainer.task import PRINCIPAL, Task, read_task

__all__ = ["main"]

EXCHANGE_S = 0.2
# To reach the cluster's port; to become its driver; to hear from an actor, which is to be started first.
REACH_S, CONNECT_S, ANSWER_S = 5.0, 60.0, 120.0
# What processes that have ended have to tidy up before Ray kills them.
TIDY_S = 5.0
# What Ray says of a failure can be pages.
SAID_CHARACTERS_MAX = 2_000


def main(cluster: str, folder: Path, agent_pid: int, events: int) -> None:
    die_with_parent(agent_pid)
    orders = Orders()
    follow(sys.stdin, orders, orphaned=die_alone)
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TRAIN_ENABLE_HEALTH_CHECK_LOGS": "0"}
    task = read_task(folder)
    with os.fdopen(events, "w", encoding="utf-8") as stream:
        report = Report(stream)
        report.release(_run(task, cluster, report, orders))
    sys.stdout.flush()
    os._exit(0)  # Ray's own threads may still wait for what is gone


def _run(task: Task, text: str, report: Report, orders: Orders) -> pb.ReleaseJobRequest:
    cluster = RayCluster.from_text(text)
    try:
        ray = _connected(cluster.address, orders)
        report.log(
            f"Asks the Ray cluster at {cluster.address} for {task.processes} processes, each with {cluster.cpus} CPUs"
            f"{f' and {cluster.gpus} GPU' if cluster.gpus else ''}, and waits until it has them."
        )
        try:
            return _Driving(ray, task, text, report, orders).run()
        finally:
            ray.shutdown()
    except Stopped:
        return _stopped(orders)
    # Whatever Ray raises where a cluster is not there, goes away, or is another release's.
    except Exception as error:  # noqa: BLE001
        return _unavailable(cluster.address, error)


def _connected(address: str, orders: Orders) -> Any:
    """Ray, of whose cluster this process is a driver from now on. Raises Stopped, and whatever says that there is none.

    Ray itself would try for many minutes, and hear no orders in that time.
    """
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
    until = time.monotonic() + CONNECT_S
    connecting = ThreadPoolExecutor(1).submit(_connect, address)
    while not wait((connecting,), EXCHANGE_S).done:
        orders.check()
        if time.monotonic() > until:
            raise TimeoutError(f"what listens at {address} did not answer as a Ray cluster does in {CONNECT_S:g} s")
    return connecting.result()


def _connect(address: str) -> Any:
    import ray

    known: Any = ray
    known.init(address=address, log_to_driver=False, logging_level="ERROR")
    return known


class _Driving:
    def __init__(self, ray: Any, task: Task, cluster: str, report: Report, orders: Orders) -> None:
        self._ray = ray
        self._task = task
        self._report = report
        self._orders = orders
        self._address = RayCluster.from_text(cluster).address
        self._principal = PrincipalFile(task.folder / PRINCIPAL)
        remote = ray.remote(num_cpus=0)(Relay)
        self._relay = remote.remote(str(orders.last), self._principal.own_token())
        self._trainer = _trainer(task, cluster, self._relay)
        self._error: BaseException | None = None
        self._ends: dict[int, pb.ReleaseJobRequest] = {}
        self._begun = False

    def run(self) -> pb.ReleaseJobRequest:
        """Until the first rank has said how the attempt ended, or cannot any more. Raises Stopped before it begins."""
        fitting = threading.Thread(target=self._fit, name="fit", daemon=True)
        fitting.start()
        end = self._until_it_ends(fitting)
        fitting.join(TIDY_S)
        return end

    def _until_it_ends(self, fitting: threading.Thread) -> pb.ReleaseJobRequest:
        troubled: float | None = None
        while True:
            alive = fitting.is_alive()  # looked at before the last lines are taken
            self._exchange()
            own = self._ends.get(0)
            if own is not None and own.reason != CRASHED:
                return own
            if not self._begun:
                self._orders.check()
            if own is not None or any(is_failure(end) for end in self._ends.values()):
                troubled = troubled or time.monotonic()
            grace_s = NOTICE_S if own is not None else GRACE_S
            if not alive or (troubled is not None and time.monotonic() - troubled > grace_s):
                return self._cause()
            time.sleep(EXCHANGE_S)

    def _exchange(self) -> None:
        token = self._principal.own_token()
        exchanged = self._relay.exchange.remote(str(self._orders.last), token)
        lines: list[Line] = self._ray.get(exchanged, timeout=ANSWER_S)
        for rank, text in lines:
            self._begun = True
            message = read_line(text)
            if isinstance(message, pb.ReleaseJobRequest):
                self._ends[rank] = message
            elif message is not None:
                self._report.event(message)

    def _fit(self) -> None:
        try:
            self._trainer.fit()
        # How it ended is for `run` to tell.
        except Exception as error:  # noqa: BLE001
            self._error = error

    def _cause(self) -> pb.ReleaseJobRequest:
        """What another failed of; else that a process is gone, which others' crashes follow from; else a crash."""
        failed = {rank: end for rank, end in sorted(self._ends.items()) if rank and is_failure(end)}
        for rank, end in failed.items():
            if end.reason != CRASHED:
                return of_rank(rank, self._task.processes, end)
        lost = sorted(getattr(self._error, "worker_failures", ()) or ())
        gone = [rank for rank in lost if rank not in self._ends]
        if gone:
            which = " and ".join(str(rank + 1) for rank in gone)
            return pb.ReleaseJobRequest(
                outcome=pb.OUTCOME_FAILED,
                reason="PROCESS_LOST",
                message=f"Process {which} of {self._task.processes} on the Ray cluster is gone, and the others cannot "
                "go on without it. The job is tried again from the last checkpoint, as often as it allows. Ray says: "
                f"{str(self._error)[:SAID_CHARACTERS_MAX]}",
            )
        for rank, end in failed.items():
            return of_rank(rank, self._task.processes, end)
        return self._ends.get(0) or _unavailable(self._address, self._error)


def _trainer(task: Task, cluster_text: str, relay: Any) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from zoo_trainer.ranks import BACKEND, GPU_BACKEND, MEETING
    from zoo_trainer.ray_worker import work

    cluster = RayCluster.from_text(cluster_text)
    config = {
        "lease": task.lease.SerializeToString(),
        "cluster": cluster_text,
        "artifact": task.place.artifact,
        "relay": relay,
    }
    each = {"CPU": float(cluster.cpus)} | ({"GPU": float(cluster.gpus)} if cluster.gpus else {})
    return TorchTrainer(
        work,
        train_loop_config=config,
        torch_config=TorchConfig(
            backend=GPU_BACKEND if cluster.gpus else BACKEND, timeout_s=round(MEETING.total_seconds())
        ),
        scaling_config=ScalingConfig(num_workers=task.processes, use_gpu=cluster.gpus > 0, resources_per_worker=each),
        # Ray keeps nothing of the training there but that it took place.
        run_config=RunConfig(
            name=f"{task.lease.job.name}-{task.lease.epoch}",
            storage_path=str(task.folder / "ray"),
            failure_config=FailureConfig(max_failures=0),
        ),
    )


def _stopped(orders: Orders) -> pb.ReleaseJobRequest:
    return pb.ReleaseJobRequest(outcome=pb.OUTCOME_YIELDED if orders.last is Order.YIELD else pb.OUTCOME_STOPPED)


def _unavailable(address: str, error: BaseException | None) -> pb.ReleaseJobRequest:
    said = f"{type(error).__name__}: {str(error)[:SAID_CHARACTERS_MAX]}" if error is not None else "nothing"
    return pb.ReleaseJobRequest(
        outcome=pb.OUTCOME_FAILED,
        reason="RAY_UNAVAILABLE",
        message=f"The Ray cluster at {address} did not run the job, which is tried again as often as it allows. See "
        "that the cluster is there (`ray status`), that the trainer is on one of its nodes (ZOO_RAY_ADDRESS), and that "
        f"all nodes have the same releases of Ray and of this package. It was: {said}",
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
