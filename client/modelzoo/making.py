"""Making versions out of others: the part of the client that trains, merges, and trains again."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from modelzoo.finetuning import prepare, publish
from modelzoo.merging import Merged, merge
from modelzoo.progress import Progress
from modelzoo.reproducing import Reproduction, compare_runs, find_recorded, run_again
from modelzoo.training_job import TrainingJob
from modelzoo.training_records import Budget, JobSpec, ParameterValue, Promotion

if TYPE_CHECKING:
    from modelzoo.client import Client

__all__ = ["Making"]


class Making:
    """Methods of Client, which alone is one of these."""

    @property
    def _client(self) -> "Client":
        return cast("Client", self)

    def finetune(
        self,
        base: str,
        data: str | os.PathLike[str],
        *,
        to: str,
        recipe: str = "",
        budget: Budget | None = None,
        promotion: Promotion | None = None,
        priority: int = 0,
        progress: Progress | None = None,
        **parameters: ParameterValue,
    ) -> TrainingJob:
        """Train the version `base` with the data into a new version of the model `to`; the job that does it.

        Data are a file, a folder (`modelzoo.datasets`), or a dataset's reference. Local ones are checked row by row and
        published as the dataset `to-data`. `modelzoo.finetuning` says how the recipe is chosen, and states errors.
        """
        spec = JobSpec(base, "", to, recipe, parameters, budget=budget or Budget(), promotion=promotion or Promotion())
        wanted = publish(self._client, prepare(self._client, spec, data), progress)
        jobs = self._client.jobs
        return jobs.open(jobs.create(wanted, priority=priority).name)

    def merge(
        self,
        adapter: str,
        *,
        to: str,
        base: str = "",
        dtype: str | None = None,
        alias: str | None = None,
        create_namespace: bool = False,
        progress: Progress | None = None,
        said: Callable[[str], None] = lambda _: None,
    ) -> Merged:
        """Add a LoRA adapter to its base, here, and publish both together as a full model: a version of `to`.

        The same two are merged into a model once. Its dtype is the base's, or `dtype`. `modelzoo.merging` states the
        rest.
        """
        return merge(
            self._client,
            adapter,
            to,
            base=base,
            dtype=dtype,
            alias=alias,
            create_namespace=create_namespace,
            progress=progress,
            said=said,
        )

    def reproduce(self, ref: str, *, to: str = "", job: str = "", progress: Progress | None = None) -> Reproduction:
        """Run the job that made the version again, into a version of `to` (by default NAME-reproduced), wait for it,
        and compare the two tensor by tensor. With `job`, compare with what that job made instead.

        `modelzoo.reproducing` states the rest; TRAINING_NOT_RECORDED, and a job that fails raises its reason.
        """
        recorded = find_recorded(self._client, ref)
        again = self._client.jobs.open(job) if job else run_again(self._client, recorded, to)
        version = again.result()
        return compare_runs(self._client, recorded, again.record, version, progress)
