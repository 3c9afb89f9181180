import random
from dataclasses import replace

import pytest

from modelzoo.errors import InvalidArgument, Unavailable
from support.toy_presence import said, worker
from zoo_gateway.choose import Chooser, rank
from zoo_gateway.workers import Worker
from zoo_store.presence import Declined, LoadedModel


def chooser(*workers: Worker) -> Chooser:
    return Chooser(lambda: workers, random.Random(7))


def test_ranking_moves_only_the_models_of_the_worker_that_left():
    workers = [worker(i) for i in range(5)]
    models = [f"ns/m{i}" for i in range(200)]
    before = {m: rank(workers, m)[0] for m in models}
    after = {m: rank(workers[1:], m)[0] for m in models}
    assert {m for m in models if before[m] != after[m]} == {m for m in models if before[m] is workers[0]}


def test_ranking_spreads_models_over_workers():
    workers = [worker(i) for i in range(4)]
    firsts = [rank(workers, f"ns/m{i}")[0].said.name for i in range(400)]
    assert all(60 < firsts.count(w.said.name) < 140 for w in workers)


def test_spelling_in_capitals_ranks_alike():
    workers = [worker(i) for i in range(9)]
    assert rank(workers, "Team/Model") == rank(workers, "team/model")


def test_every_call_for_a_model_that_nobody_has_goes_to_the_same_worker():
    workers = [worker(i) for i in range(5)]
    assert {chooser(*workers).choose("ns/m")[0] for _ in range(20)} == {rank(workers, "ns/m")[0].said.address}


@pytest.mark.parametrize("reference", ["ns/m", "NS/M@live", "ns/m@3", "ns/m@sha256:" + "ab" * 32])
def test_worker_that_has_the_model_comes_first(reference):
    workers = [worker(i) for i in range(8)]
    last = rank(workers, "ns/m")[-1]
    holder = Worker(replace(last.said, models=(LoadedModel("ns/m@3", "ab" * 32, loading=True),)))
    chosen = chooser(*(holder if w is last else w for w in workers)).choose(reference)
    assert (chosen[0], len(chosen)) == (holder.said.address, 3)


def test_worker_with_another_version_does_not_count_as_holder():
    workers = [worker(i) for i in range(8)]
    ranking = rank(workers, "ns/m")
    other = Worker(replace(ranking[-1].said, models=(LoadedModel("ns/m@2", "cd" * 32),)))
    chosen = chooser(*ranking[:-1], other).choose("ns/m@3")
    assert chosen[0] == ranking[0].said.address


def test_less_loaded_of_two_holders_is_chosen():
    busy, idle = worker(1, "ns/m@1", running=5), worker(2, "ns/m@1", running=1)
    assert {chooser(busy, idle).choose("ns/m")[0] for _ in range(20)} == {idle.said.address}


def test_own_choices_count_until_loads_are_reported_again():
    one, two = worker(1, "ns/m@1"), worker(2, "ns/m@1")
    c = chooser(one, two)
    picks = [c.choose("ns/m")[0] for _ in range(10)]
    assert picks.count(one.said.address) == picks.count(two.said.address) == 5
    c.reported()
    assert c.choose("ns/m")[0] in {one.said.address, two.said.address}


def test_call_spills_over_when_every_holder_is_full():
    full, free = worker(1, "ns/m@1", running=10), worker(2)
    assert chooser(full, free).choose("ns/m") == [free.said.address, full.said.address]


def test_worker_that_declined_the_version_is_tried_after_the_others():
    workers = [worker(i) for i in range(2)]
    first, second = rank(workers, "ns/m")
    declined = Worker(replace(first.said, declined=(Declined("ns/m@1", "ab" * 32, "too large"),)))
    assert chooser(declined, second).choose("ns/m@1") == [second.said.address, first.said.address]


def test_draining_worker_gets_no_calls():
    leaving, staying = worker(1, "ns/m@1", draining=True), worker(2)
    assert chooser(leaving, staying).choose("ns/m") == [staying.said.address]


def test_worker_whose_presence_was_lost_is_tried_last():
    lost, sure = Worker(said(1, "ns/m@1"), confirmed=False), worker(2)
    assert chooser(lost, sure).choose("ns/m") == [sure.said.address, lost.said.address]


@pytest.mark.parametrize("workers", [(), (worker(1, draining=True),)])
def test_no_worker_says_when_to_retry(workers):
    with pytest.raises(Unavailable) as caught:
        chooser(*workers).choose("ns/m")
    assert (caught.value.reason, caught.value.retry_after_s) == ("WORKER_UNAVAILABLE", 2.0)


def test_malformed_reference_is_refused():
    with pytest.raises(InvalidArgument) as caught:
        chooser(worker(1)).choose("no such/model name")
    assert caught.value.reason == "REFERENCE_INVALID"


def test_call_without_a_model_goes_to_some_worker_which_says_what_is_wrong():
    assert chooser(worker(1)).choose("") == ["10.0.0.1:80"]
