"""Lists of jobs: whose they are, what a filter says, and pages that neither repeat nor miss one."""

import pytest

from modelzoo.errors import InvalidArgument
from support.job_service import ADA, BASE, DATASET, JobService, spec
from zoo_server.paging import PageRequest
from zoo_server.principal import Principal, Role
from zoo_training.jobs import JobEdit, NewJob
from zoo_training.listing import Listing
from zoo_training.requests import Request


async def names(service: JobService, filter: str = "", namespace: str = "", principal: Principal = ADA) -> list[str]:
    found = await Listing(service.database).list(principal, namespace, filter, PageRequest())
    return [job.name for job in found.items]


async def test_a_list_has_the_newest_first_and_only_what_its_reader_sees(service: JobService) -> None:
    jobs = [(await service.create(output)).name for output in ("Team/a", "ours/a", "team/b")]
    assert await names(service) == jobs[::-1]
    assert await names(service, namespace="TEAM") == [jobs[2], jobs[0]]
    assert await names(service, principal=Principal("user:bob", {"TEAM": Role.VIEWER})) == [jobs[2], jobs[0]]
    assert await names(service, principal=Principal("user:eve")) == []


async def test_pages_neither_repeat_nor_miss_a_job_that_was_there(service: JobService) -> None:
    jobs = [(await service.create()).name for _ in range(7)]
    listing, token, seen = Listing(service.database), "", list[str]()
    for _ in range(4):
        page = await listing.list(ADA, "", "", PageRequest(2, token))
        seen += [job.name for job in page.items]
        token = page.next_token
        await service.create()
    assert seen == jobs[::-1]
    assert token == ""


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ("state = QUEUED", [1]),
        ("state = CANCELLED OR priority > 4", [0, 1]),
        ("priority = 5", [1]),
        ("base = zoo/bert* AND output:topics", [0, 1]),
        ("labels.purpose = nightly", [0]),
        ("labels.purpose:night labels.owner = ada", [0]),
        ("labels:owner", [0]),
        ("labels.'kept.by/us' = yes", [1]),
        ("NOT labels.purpose = nightly", [1]),
        ("sweep = sweep_1", [0]),
        ("create_time > 2020-01-01 recipe = text-classification resource_class = cpu", [0, 1]),
        ("creator = nobody", []),
    ],
)
async def test_filters_find_what_they_say(service: JobService, filter: str, found: list[int]) -> None:
    labels = {"purpose": "nightly", "owner": "ada"}
    new = NewJob(spec(), BASE, DATASET, labels=labels, sweep="sweep_1")
    first = await service.jobs.create(new, Request("user:ada", "CreateJob", "", {}))
    await service.jobs.cancel(first.name, ADA)
    jobs = [first.name, (await service.create(priority=5)).name]
    await service.jobs.update(jobs[1], JobEdit(labels={"kept.by/us": "yes"}), "", ADA)
    assert sorted(await names(service, filter)) == sorted(jobs[number] for number in found)


async def test_labels_are_found_as_they_are_now(service: JobService) -> None:
    job = await service.create()
    await service.jobs.update(job.name, JobEdit(labels={"a": "1"}), "", ADA)
    await service.jobs.update(job.name, JobEdit(labels={"b": "2"}), "", ADA)
    assert await names(service, "labels.a = 1") == []
    assert await names(service, "labels.b:*") == [job.name]


@pytest.mark.parametrize("filter", ["nothing = 1", "priority = high", "state", "labels. = 1"])
async def test_filters_that_say_nothing_are_refused(service: JobService, filter: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await names(service, filter)
    assert refused.value.reason == "FILTER_INVALID"
