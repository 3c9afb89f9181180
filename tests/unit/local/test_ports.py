"""Ports: free at first, the same ever after, and nobody else's while a cluster has them."""

import json
import socket
from pathlib import Path

import pytest

from support.servers import free_ports
from zoo_local.errors import PortTaken
from zoo_local.ports import HeldPorts, choose_ports


def listen(port: int) -> socket.socket:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen()
    return server


def test_ports_are_kept_over_restarts(tmp_path: Path) -> None:
    first = choose_ports(tmp_path / "ports", ["a", "b"], {})
    assert len(set(first.values())) == 2
    assert choose_ports(tmp_path / "ports", ["a", "b"], {}) == first


def test_a_port_that_somebody_took_is_chosen_anew(tmp_path: Path) -> None:
    first = choose_ports(tmp_path / "ports", ["a", "b"], {})
    with listen(first["a"]):
        second = choose_ports(tmp_path / "ports", ["a", "b"], {})
    assert second["a"] != first["a"]
    assert second["b"] == first["b"]


def test_a_fixed_port_wins_over_the_kept_one_and_is_kept(tmp_path: Path) -> None:
    choose_ports(tmp_path / "ports", ["a"], {})
    port = free_ports(1)[0]
    assert choose_ports(tmp_path / "ports", ["a"], {"a": port})["a"] == port
    assert choose_ports(tmp_path / "ports", ["a"], {})["a"] == port


def test_a_fixed_port_that_is_taken_is_refused_by_name(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    with listen(port), pytest.raises(PortTaken, match=f"port {port} for envoy is taken"):
        choose_ports(tmp_path / "ports", ["envoy"], {"envoy": port})


def test_a_damaged_file_costs_the_ports_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "ports").write_text('{"a": 123')
    chosen = choose_ports(tmp_path / "ports", ["a"], {})
    assert json.loads((tmp_path / "ports").read_text()) == chosen


def test_a_held_port_can_be_served_by_its_server_again_and_again() -> None:
    port = free_ports(1)[0]
    with HeldPorts([port]):
        for _ in range(2):
            with listen(port) as server, socket.create_connection(("127.0.0.1", port)):
                server.accept()[0].close()


def test_a_held_port_is_not_chosen_by_another_cluster(tmp_path: Path) -> None:
    held, free = free_ports(2)
    with HeldPorts([held]):
        assert choose_ports(tmp_path / "ports", ["a"], {}, [held, free]) == {"a": free}
