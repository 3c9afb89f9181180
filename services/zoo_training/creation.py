"""Creating jobs: what was asked for is checked, its sources are pinned, and only then it is queued."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelzoo.errors import InvalidArgument, ZooError
from zoo_server.principal import Principal
from zoo_training.job import FINAL, Job
from zoo_training.jobs import Jobs, NewJob
from zoo_training.pins import Pins, source_pins
from zoo_training.planning import Plan, Planner
from zoo_training.requests import Request
from zoo_training.spec import SPEC_JSON, JobSpec

__all__ = ["Asked", "Creation"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A job as its creator asks for it."""

    spec: JobSpec
    priority: int = 0
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    retry_of: str = ""

    def request(self, principal: Principal, request_id: str) -> Request:
        arguments = {
            "spec": SPEC_JSON.dump_python(self.spec, mode="json"),
            "priority": self.priority,
            "labels": dict(self.labels),
            "retry_of": self.retry_of,
        }
        return Request(principal.subject, "CreateJob", request_id, arguments)


class Creation:
    def __init__(self, jobs: Jobs, planner: Planner, held: Pins) -> None:
        self._jobs = jobs
        self._planner = planner
        self._held = held

    async def plan(self, asked: Asked, principal: Principal) -> Plan:
        """What would be queued; makes nothing. Raises what `Planner.plan` does; JOB_NOT_FOUND for `retry_of`, and
        FIELD_INVALID where that is not over."""
        await self._check_retried(asked, principal)
        return await self._planner.plan(asked.spec, principal)

    async def foresee(self, asked: Asked, principal: Principal) -> Plan:
        """The same for one who makes nothing either: its data may be yet to be published. Raises as `plan`, and
        QUOTA_EXCEEDED where no more jobs may be queued now."""
        await self._check_retried(asked, principal)
        plan = (await self._planner.foreseen(asked.spec, principal)).plan(asked.spec, asked.spec.parameters)
        await self._jobs.check_quota(plan.spec.output.partition("/")[0])
        return plan

    async def _check_retried(self, asked: Asked, principal: Principal) -> None:
        if asked.retry_of:
            before = await self._jobs.get(asked.retry_of, principal)
            if before.state not in FINAL:
                raise InvalidArgument(
                    "FIELD_INVALID",
                    f"retry_of: the job {before.name} is {before.state.value}, and not over: wait, or cancel it",
                    field="job.retry_of",
                    metadata={"field": "job.retry_of"},
                )

    async def create(self, asked: Asked, principal: Principal, request_id: str) -> Job:
        """Queue the job, or find the one that the same request made before.

        Raises as `plan`, and REQUEST_ID_REUSED, QUOTA_EXCEEDED, MANIFEST_NOT_FOUND where a source was purged meanwhile.
        """
        request = asked.request(principal, request_id)
        made = await self._jobs.made_by(request)
        if made is not None:
            return made
        plan = await self.plan(asked, principal)
        new = NewJob(
            plan.spec,
            plan.base,
            plan.dataset,
            asked.priority,
            asked.labels,
            asked.retry_of,
            recipe_digest=plan.recipe.digest,
        )
        await self._held.hold(source_pins(new.name, plan.base, plan.dataset))
        try:
            job = await self._jobs.create(new, request)
        except ZooError:
            await self._held.drop(new.name)
            raise
        if job.name != new.name:
            # Its twin was faster, and has pins of its own.
            await self._held.drop(new.name)
        return job
