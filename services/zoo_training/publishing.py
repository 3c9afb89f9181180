"""A job's result becomes a version: once, whatever dies on the way.

model -> version (by the job's name as its request_id) -> metrics -> alias

Each step finds what it did before, so that all of it is simply done again after a crash. The catalog's version is the
one thing that others see at once; it is made by a request_id, and so made once.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelzoo.errors import AlreadyExists, NotFound
from zoo.catalog.v1 import edge_pb2
from zoo_training.catalog import Catalog
from zoo_training.job import Measured
from zoo_training.promotion import Candidate, Promoter
from zoo_training.recipe import Recipe
from zoo_training.spec import JobSpec

__all__ = ["Published", "Publisher", "Result"]


@dataclass(frozen=True, slots=True)
class Result:
    """What a job made, as its trainer said: a manifest in the namespace of `spec.output`. `creator` is the job's."""

    job: str
    spec: JobSpec
    creator: str
    manifest_digest: str
    adapter: bool
    measured: Sequence[Measured]


@dataclass(frozen=True, slots=True)
class Published:
    """`reference` is `namespace/name@number`; `remarks` are sentences for people."""

    reference: str
    remarks: tuple[str, ...]


class Publisher:
    def __init__(self, catalog: Catalog, promoter: Promoter) -> None:
        self._catalog = catalog
        self._promoter = promoter

    async def publish(self, result: Result, recipe: Recipe) -> Published:
        """Publish the result, and promote it if its rule says so. Doing it again finds what was done.

        Raises what the catalog refuses it for: NAMESPACE_NOT_FOUND, MODEL_NOT_FOUND (deleted), MANIFEST_NOT_FOUND,
        MANIFEST_QUARANTINED, QUOTA_EXCEEDED, KIND_MISMATCH; Unavailable, DeadlineExceeded and Aborted mean: try again.
        """
        remarks: list[str] = []
        spec = result.spec
        base_model = spec.base.partition("@")[0]
        described = f"{base_model}, fine-tuned with {spec.dataset.partition('@')[0]}"
        await self._catalog.create_model(spec.output, described, result.creator)
        reference = await self._version(result, remarks)
        for split, values in _metrics(result.measured).items():
            await self._catalog.set_metrics(reference, spec.dataset, split, values)
        candidate = Candidate(
            job=result.job,
            reference=reference,
            promotion=spec.promotion,
            dataset=spec.dataset,
            metric=recipe.metric,
            lower_is_better=recipe.lower_is_better,
            base=spec.base,
            measured=result.measured,
        )
        if remark := await self._promoter.promote(candidate):
            remarks.append(remark)
        return Published(reference, tuple(remarks))

    async def _version(self, result: Result, remarks: list[str]) -> str:
        spec = result.spec
        parent = edge_pb2.Parent(
            reference=spec.base,
            kind=edge_pb2.EDGE_KIND_ADAPTER if result.adapter else edge_pb2.EDGE_KIND_FINE_TUNED,
            job=result.job,
            dataset=spec.dataset,
            code=f"recipe {spec.recipe}",
        )
        source = f"job {result.job}"
        try:
            return await self._catalog.create_version(spec.output, result.manifest_digest, result.job, source, parent)
        except NotFound as error:
            # A base that was deleted since is no reason to throw the training away. What else is missing is said again.
            if error.reason not in ("VERSION_NOT_FOUND", "MODEL_NOT_FOUND"):
                raise
        except AlreadyExists as error:
            # Published before, without its parent.
            if error.reason != "REQUEST_ID_REUSED":
                raise
        remarks.append(f"{spec.base} was deleted since: the version has no edge to it")
        return await self._catalog.create_version(
            spec.output, result.manifest_digest, result.job, f"{source} of {spec.base}", None
        )


def _metrics(measured: Sequence[Measured]) -> Mapping[str, Mapping[str, float]]:
    """By split: each metric, and beside it what the base had and what the commonest label alone would have given."""
    by_split: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for each in measured:
        values = {"": each.after, ".before": each.before, ".majority": each.majority}
        by_split[each.split] |= {
            f"{each.metric}{suffix}": value
            for suffix, value in values.items()
            if value is not None and math.isfinite(value)
        }
    return {split: values for split, values in by_split.items() if values}
