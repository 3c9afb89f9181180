"""Workers that exist in words only."""

from zoo_gateway.workers import Worker
from zoo_store.presence import LoadedModel, WorkerPresence


def said(number: int, *models: str, **fields) -> WorkerPresence:
    loaded = tuple(LoadedModel(m, "ab" * 32) for m in models)
    return WorkerPresence(f"w{number}", f"10.0.0.{number}:80", "cpu", 0.0, models=loaded, **{"capacity": 10, **fields})


def worker(number: int, *models: str, **fields) -> Worker:
    return Worker(said(number, *models, **fields))
