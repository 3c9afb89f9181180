"""The real `zoo-trainer` as a process, with a service around it that keeps the contract."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from support.servers import ServerProcess
from zoo_server.principal import Signer, create_signer, save_trust

__all__ = ["Services", "children_of", "trainer_process"]


class Services(Protocol):
    """What a trainer calls: `host:port` of the training and of the artifact service."""

    address: str
    artifact: str


@contextmanager
def trainer_process(
    folder: Path,
    service: Services,
    name: str = "trainer",
    identity: Signer | None = None,
    program: Sequence[str] = ("-m", "zoo_trainer.main"),
    **settings: str,
) -> Iterator[ServerProcess]:
    """Its work and its cache lie in `folder`, where other trainers may have theirs. It has this identity, or one that
    nobody asks for. `settings` are by their names in the environment."""
    folder.mkdir(parents=True, exist_ok=True)
    (identity or create_signer("trainer")).save(folder / f"{name}.json")
    save_trust(folder / "trust.json", [])
    env = {
        **{key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ},
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "ZOO_TRUST": str(folder / "trust.json"),
        "ZOO_IDENTITY": str(folder / f"{name}.json"),
        "ZOO_TRAINING": service.address,
        "ZOO_ARTIFACT": service.artifact,
        "ZOO_CACHE_DIR": str(folder / "cache"),
        "ZOO_WORK_DIR": str(folder / "work"),
        "ZOO_THREADS": "1",
        "ZOO_DRAIN_S": "20",
        **settings,
    }
    process = ServerProcess([sys.executable, *program], folder / f"{name}.log", env)
    try:
        yield process
    finally:
        process.kill()


def children_of(pid: int) -> list[int]:
    """Process ids of what a process has started and not reaped."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in found]
