"""The catalog's answers: a version by alias beside an empty call and MLflow, and searches in small and in large."""

import asyncio
import random
import tempfile
import time
from pathlib import Path

from benchmarks.catalog_filled import ALIAS, MODEL, TASKS, WORDS, fill
from benchmarks.catalog_process import Catalog, Taken, running_catalog
from benchmarks.cluster import start_cluster
from benchmarks.mlflow_peer import running_mlflow
from benchmarks.report import Table
from modelzoo.client import Client
from modelzoo.records import Version

__all__ = ["measure"]

CLIENTS = (1, 8, 32)
ROUND_S, ROUNDS = 6.0, 3
SIZES = (1_000, 100_000)
SEARCHES = 20
READY_S = 30.0


async def measure(*, tiny: bool) -> list[Table]:
    """Two tables; MLflow is left out of a tiny run, as its environment takes a minute to make."""
    return await asyncio.to_thread(_measure, tiny)


def _measure(tiny: bool) -> list[Table]:
    round_s, rounds = (0.2, 1) if tiny else (ROUND_S, ROUNDS)
    with tempfile.TemporaryDirectory(prefix="zoo-bench-catalog-") as folder:
        databases = {count: Path(folder) / f"{count}.db" for count in ((10, 20) if tiny else SIZES)}
        for count, path in databases.items():
            fill(path, count)
        small = min(databases)
        with running_catalog(Path(folder) / "secrets", databases[small]) as catalog:
            by_alias = _by_alias(catalog, None if tiny else Path(folder) / "mlflow", round_s, rounds)
        searches = _search(Path(folder), databases, round_s, rounds, 2 if tiny else SEARCHES)
        following = _following(Path(folder) / "followed", round_s)
    return [by_alias, following, searches]


def _by_alias(catalog: Catalog, mlflow_folder: Path | None, round_s: float, rounds: int) -> Table:
    get = f'get {{"reference": "{MODEL}@{ALIAS}"}}'
    rows: list[tuple[str, ...]] = []
    for clients in CLIENTS:
        empty, ours = [], []
        # In turns, so that whatever else the machine does falls on both.
        for _ in range(rounds):
            empty.append(catalog.load("empty", clients, round_s))
            ours.append(catalog.load(get, clients, round_s))
        bare, taken = _middle(empty), _middle(ours)
        rows.append((str(clients), _rate(taken), _ms(taken), _rate(bare), _ms(bare), f"{taken.rate / bare.rate:.2f}"))
    peers = [("-", "-")] * len(CLIENTS)
    if mlflow_folder is not None:
        with running_mlflow(mlflow_folder) as mlflow:
            peers = [(f"{taken.rate:.0f}", _ms(taken)) for taken in (mlflow.load(n, round_s) for n in CLIENTS)]
    return Table(
        key="catalog-alias",
        title="A version by its alias",
        explanation="GetVersion of `namespace/name@alias` in a catalog on SQLite, each client on a connection of its "
        "own, calling again when answered; clients and servers share the cores. The empty call passes the same "
        "server, authentication and validation and answers who its caller is. MLflow's registry answers `get model "
        "version by alias` over HTTP, on SQLite too, one worker, in an environment of its own.",
        columns=(
            "clients",
            "calls/s",
            "p50 / p99 ms",
            "empty call, calls/s",
            "p50 / p99 ms",
            "ratio",
            "MLflow calls/s",
            "p50 / p99 ms",
        ),
        rows=[(*row, *peer) for row, peer in zip(rows, peers, strict=True)],
    )


class _Counting(Client):
    """A client that counts its questions what a reference means."""

    calls = 0

    def version(self, ref: str) -> Version:
        self.calls += 1
        return super().version(ref)


def _following(directory: Path, round_s: float) -> Table:
    directory.mkdir()
    (directory / "weights.bin").write_bytes(b"1")
    with start_cluster() as cluster, _Counting(cluster.url, cluster.key) as zoo:
        zoo.push(directory, "bench/followed", alias=ALIAS, create_namespace=True)
        with zoo.follow("bench/followed") as following:
            following.wait(READY_S)
            zoo.calls = 0
            started = time.monotonic()
            count = 0
            while (lasted := time.monotonic() - started) < round_s:
                following.version(f"bench/followed@{ALIAS}")
                count += 1
    return Table(
        key="catalog-following",
        title="A version by its alias, for a client that follows",
        explanation="`Client.follow` keeps what references of some models mean in memory, by a watch of the log of "
        "changes: an answer is a second behind at most while the watch runs.",
        columns=("answers/s", "µs an answer", "calls"),
        rows=[(f"{count / lasted:.0f}", f"{lasted / count * 1e6:.1f}", str(zoo.calls))],
    )


def _search(folder: Path, databases: dict[int, Path], round_s: float, rounds: int, queries: int) -> Table:
    words = random.Random(0)
    asked = [" ".join(words.choices(WORDS, k=2)) for _ in range(queries)]
    rows: list[tuple[str, ...]] = []
    p50: dict[int, float] = {}
    for count, path in databases.items():
        with running_catalog(folder / "secrets", path) as catalog:
            taken = [
                catalog.load(
                    f'list {{"query": "{query}", "filter": "task = {TASKS[0]} OR task = {TASKS[1]}"}}', 1, round_s / 5
                )
                for query in asked
                for _ in range(rounds)
            ]
        p50[count] = sorted(each.p50_ms for each in taken)[len(taken) // 2]
        worst = max(each.p99_ms for each in taken)
        ratio = p50[count] / p50[min(databases)]
        rows.append((f"{count:,}", f"{count * 10:,}", f"{p50[count]:.1f}", f"{worst:.1f}", f"{ratio:.1f}"))
    return Table(
        key="catalog-search",
        title="Searching models",
        explanation="ListModels with a query of two words and a filter by task, most relevant first, one client; "
        f"{queries} different queries. Every model has 68 words of 2,000 in its description and card, so that a query "
        "finds one model in a thousand.",
        columns=("models", "versions", "p50 ms", "largest p99 ms", "times the smallest"),
        rows=rows,
    )


def _middle(taken: list[Taken]) -> Taken:
    return sorted(taken, key=lambda each: each.rate)[len(taken) // 2]


def _rate(taken: Taken) -> str:
    return f"{taken.rate:.0f}"


def _ms(taken: Taken) -> str:
    return f"{taken.p50_ms:.2f} / {taken.p99_ms:.2f}"
