"""Attempts of several ranks, each a process forked from one that has the libraries already."""

import multiprocessing
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from zoo.training.v1 import trainer_service_pb2 as pb
from zoo_trainer.stopping import Order

__all__ = ["Together", "attempt_together"]

PATIENCE_S = 240.0
# What is imported before the first fork: only what is installed, as the server that forks does not know tests/.
LIBRARIES = ["zoo_trainer.course", "torch.distributed", "transformers.models.bert.modeling_bert"]


@dataclass(frozen=True)
class Together:
    """What the first rank came to; `ends` are the outcomes of all, in their order."""

    weights: Mapping[str, Any]
    losses: list[float]
    logs: str
    checkpoints: list[Path]
    ends: list[str]
    measured: list[tuple[str, float]]


def attempt_together(
    folder: Path, base: Path, dataset: Path, leased: pb.Lease, count: int, checkpoint: Path | None = None,
    order: tuple[int, Order] | None = None,
) -> Together:  # fmt: skip
    """The first rank alone is given the order, after so many checkpoints."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    folder.mkdir()
    receiving, sending = context.Pipe(duplex=False)
    arguments = (str(folder), str(base), str(dataset), leased.SerializeToString(), count, str(checkpoint or ""))
    processes = [
        context.Process(target=run_rank, args=(rank, sending, order if rank == 0 else None, *arguments))
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    sending.close()
    ends: dict[int, dict[str, Any]] = {}
    try:
        while len(ends) < count:
            assert receiving.poll(PATIENCE_S), f"only {sorted(ends)} ended"
            rank, said = receiving.recv()
            ends[rank] = said
    finally:
        receiving.close()
        for process in processes:
            process.kill()
            process.join()
            process.close()
    first = ends[0]
    return Together(
        first["weights"], first["losses"], first["logs"], first["checkpoints"],
        [ends[rank]["end"] for rank in range(count)], first["measured"],
    )  # fmt: skip


def run_rank(
    rank: int, sending: Connection, order: tuple[int, Order] | None, folder: str, base: str, dataset: str,
    leased: bytes, count: int, checkpoint: str,
) -> None:  # fmt: skip
    import os

    import torch
    from safetensors.torch import load_file

    from support.training import attempt
    from zoo_trainer.companions import environment_of
    from zoo_trainer.ranks import join

    torch.set_num_threads(1)
    os.environ |= {"OMP_NUM_THREADS": "1", **environment_of(rank, count)}
    own = Path(folder) / f"rank-{rank}"
    done = attempt(
        own, Path(base), Path(dataset), pb.Lease.FromString(leased),
        checkpoint=Path(checkpoint) if checkpoint else None,
        order=order,
        meet=lambda: join(rank, count, Path(folder) / "rendezvous"),
    )  # fmt: skip
    has_result = bool(done.release.result.manifest_digest)
    said = {
        "end": f"{pb.Outcome.Name(done.release.outcome)} {done.release.reason}".strip(),
        "weights": {k: v.numpy() for k, v in load_file(done.result / "model.safetensors").items()}
        if has_result
        else {},
        "losses": done.losses,
        "logs": done.logs + done.release.message,
        "checkpoints": [done.pushes.path(each.manifest_digest) for each in done.checkpoints],
        "measured": [(each.metric, each.after) for each in done.release.result.measured],
    }
    sending.send((rank, said))
