"""The worker's parts, put together around where its models come from and whom it tells."""

import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from zoo_inference.admission import Admission
from zoo_inference.catalog import Catalog
from zoo_inference.gate import Gate
from zoo_inference.inference import Inference
from zoo_inference.loader import Loader
from zoo_inference.model import LoadedModel
from zoo_inference.patrol import Patrol
from zoo_inference.placement import has_fast_bfloat16, place
from zoo_inference.residency import Residency
from zoo_inference.resolve import Resolver
from zoo_store.presence import LoadedModel as PresentModel
from zoo_store.presence import WorkerPresence

__all__ = ["Worker", "WorkerLimits"]


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """`queue` requests at once, models in `memory_bytes`."""

    queue: int
    memory_bytes: int


class Worker:
    """Runs models. `on_change` is called when what `describe` says changes."""

    def __init__(self, catalog: Catalog, loader: Loader, limits: WorkerLimits, resource_class: str) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self.draining = False
        self._resource_class = resource_class
        self._name = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._start_time = time.time()
        fast = has_fast_bfloat16()
        self.admission = Admission(limits.queue, self._change)
        self.residency: Residency[LoadedModel] = Residency(
            limits.memory_bytes,
            lambda version: place(version.dtype_bytes, limits.memory_bytes, fast_bfloat16=fast),
            loader.load,
            self._change,
        )
        self.patrol = Patrol(catalog, self.residency)
        self.inference = Inference(Resolver(catalog), Gate(catalog), self.residency, self.admission)

    def describe(self, address: str) -> WorkerPresence:
        """What it is and does now; `address` is where others reach it."""
        return WorkerPresence(
            name=self._name,
            address=address,
            resource_class=self._resource_class,
            start_time=self._start_time,
            running=self.admission.running,
            queued=self.admission.queued,
            capacity=self.admission.capacity,
            used_bytes=self.residency.used_bytes,
            budget_bytes=self.residency.budget_bytes,
            draining=self.draining,
            models=tuple(
                PresentModel(
                    reference=resident.version.reference,
                    manifest_digest=resident.version.manifest_digest,
                    task=resident.model.task.value if resident.model is not None else "",
                    loading=resident.model is None,
                    size_bytes=resident.size_bytes,
                    base_manifest_digest=base.manifest_digest if (base := resident.version.base) else "",
                )
                for resident in self.residency.residents
            ),
        )

    async def drain(self) -> None:
        """Say that no more is taken; what is there goes on."""
        self.draining = True
        self._change()

    def _change(self) -> None:
        self.on_change()
