import json
from dataclasses import replace

from support.toy_presence import said
from zoo_gateway.endpoints import EndpointsFile
from zoo_gateway.workers import GRACE_S, Workers


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_worker_that_vanishes_stays_unconfirmed_for_a_while():
    clock = Clock()
    workers = Workers(clock)
    workers.update([said(1), said(2)])
    workers.update([said(2)])
    assert [(w.said.name, w.confirmed) for w in workers.all()] == [("w1", False), ("w2", True)]
    clock.now += GRACE_S
    workers.update([said(2)])
    assert [w.said.name for w in workers.all()] == ["w2"]


def test_worker_that_drained_goes_at_once():
    workers = Workers()
    workers.update([said(1, draining=True)])
    workers.update([])
    assert workers.all() == []


def test_new_worker_takes_the_address_of_the_one_before():
    workers = Workers()
    workers.update([said(1)])
    workers.update([replace(said(2), address="10.0.0.1:80")])
    assert [(w.said.name, w.said.address, w.confirmed) for w in workers.all()] == [("w2", "10.0.0.1:80", True)]


def test_endpoints_file_names_exactly_the_addresses(tmp_path):
    EndpointsFile(tmp_path).write(["10.0.0.2:81", "[::1]:80"])
    assignment = json.loads((tmp_path / "workers.json").read_text())["resources"][0]
    found = [e["endpoint"]["address"]["socket_address"] for e in assignment["endpoints"][0]["lb_endpoints"]]
    assert found == [{"address": "10.0.0.2", "port_value": 81}, {"address": "::1", "port_value": 80}]
    assert [p.name for p in tmp_path.iterdir()] == ["workers.json"]


def test_endpoints_file_is_left_alone_while_the_set_is_the_same(tmp_path):
    file = EndpointsFile(tmp_path)
    file.write(["a:1", "b:2"])
    before = (tmp_path / "workers.json").stat().st_ino
    file.write(["b:2", "a:1"])
    assert (tmp_path / "workers.json").stat().st_ino == before


def test_endpoints_file_from_before_survives_a_restart(tmp_path):
    EndpointsFile(tmp_path).write(["a:1"])
    EndpointsFile(tmp_path).ensure()
    assert "a" in (tmp_path / "workers.json").read_text()
