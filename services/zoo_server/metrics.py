"""Prometheus metrics of every server, and the port they are read from."""

from prometheus_client import Counter, Histogram, start_http_server

__all__ = ["observe_call", "serve_metrics"]

_CALLS = Counter("zoo_server_calls_total", "Calls served, by method and gRPC code.", ["method", "code"])
_SECONDS = Histogram(
    "zoo_server_call_seconds",
    "Duration of calls, streams to their end.",
    ["method"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300),
)


def observe_call(method: str, code: str, duration_s: float) -> None:
    _CALLS.labels(method, code).inc()
    _SECONDS.labels(method).observe(duration_s)


def serve_metrics(listen: str) -> None:
    """Serve /metrics over HTTP on `host:port`, from a thread of its own."""
    host, _, port = listen.rpartition(":")
    start_http_server(int(port), host)
