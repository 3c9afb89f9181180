"""What operators see of calls: metrics that Prometheus reads, and logs as JSON."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from modelzoo.errors import Internal, NotFound
from support.catalog_service import refused
from support.servers import free_ports
from support.toy_artifact import SERVICE, Running, manifest
from zoo_server.log import JsonFormatter
from zoo_server.principal import Principal, Role
from zoo_server.settings import ServerSettings


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What servers log, as they write it."""
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(JsonFormatter())
    logging.getLogger("zoo_server").addHandler(handler)
    yield handler.stream
    logging.getLogger("zoo_server").removeHandler(handler)


async def test_calls_are_counted_and_timed_by_method_and_code(
    settings: ServerSettings, start: Callable[[], Any]
) -> None:
    settings.metrics_listen = f"127.0.0.1:{free_ports(1)[0]}"
    running: Running = await start()

    def seen(name: str, **labels: str) -> float:
        text = httpx.get(f"http://{settings.metrics_listen}/metrics").text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(s.value for s in samples if s.name == name and s.labels.items() >= labels.items())

    method = f"/{SERVICE}/GetManifest"
    ok, absent, timed = (
        lambda: seen("zoo_server_calls_total", method=method, code="OK"),
        lambda: seen("zoo_server_calls_total", method=method, code="NOT_FOUND"),
        lambda: seen("zoo_server_call_seconds_count", method=method),
    )
    before = ok(), absent(), timed()
    await running.stub.GetManifest(manifest(), metadata=running.metadata())
    running.toy.raising = NotFound("MANIFEST_NOT_FOUND", "there is no such manifest")
    with refused(NotFound, "MANIFEST_NOT_FOUND"):
        await running.stub.GetManifest(manifest(), metadata=running.metadata())
    assert (ok(), absent(), timed()) == (before[0] + 1, before[1] + 1, before[2] + 2)


async def test_a_line_of_the_log_is_json_and_says_whose_call_it_belongs_to(
    running: Running, logged: io.StringIO
) -> None:
    running.toy.raising = RuntimeError("two\nlines")
    metadata = (*running.metadata(Principal("team:app", {"*": Role.VIEWER})), ("x-request-id", "mine-1"))
    with refused(Internal, "INTERNAL"):
        await running.stub.GetManifest(manifest(), metadata=metadata)
    (line,) = [json.loads(text) for text in logged.getvalue().splitlines()]
    assert (line["level"], line["message"]) == ("error", "unexpected error")
    assert (line["request_id"], line["subject"]) == ("mine-1", "team:app")
    assert line["method"] == f"/{SERVICE}/GetManifest"
    assert "RuntimeError: two\nlines" in line["exception"]
