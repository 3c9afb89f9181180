"""A catalog's database with many models, written straight into its tables."""

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from zoo_catalog.main import MIGRATIONS
from zoo_catalog.schema import alias_targets, aliases, model_tags, models, namespaces, versions
from zoo_store.migration import migrate
from zoo_store.sql import open_database

__all__ = ["ALIAS", "MODEL", "WORDS", "fill"]

NAMESPACES = 50
VERSIONS_EACH = 10
TASKS = ("text-generation", "text-classification", "image-classification", "object-detection", "fill-mask")
LICENCES = ("apache-2.0", "mit", "bsd-3-clause")
WORDS = [f"{first}{second}{third}" for first in "bdfgklmn" for second in "aeiou" for third in ("st", "rn", "ck", "lm")]
WORDS = [
    f"{word}{ending}" for word in WORDS for ending in ("", "er", "ing", "ous", "ly", "ment", "al", "ity", "ish", "ic")
]
MODEL = "bench0/model-0"
ALIAS = "prod"
TIME = 1_790_000_000_000_000
BATCH = 2000


def fill(path: Path, count: int) -> None:
    """Make the database at `path` with so many models of ten versions, an alias each."""
    asyncio.run(_fill(path, count))


async def _fill(path: Path, count: int) -> None:
    async with open_database(f"sqlite:///{path}") as database:
        await migrate(database, MIGRATIONS)
        async with database.write() as connection:
            rows = [
                {"key": f"bench{n}", "name": f"bench{n}", "description": "", "create_time": _time(n)}
                for n in range(NAMESPACES)
            ]
            await connection.execute(insert(namespaces), rows)
        for start in range(0, count, BATCH):
            numbers = range(start, min(start + BATCH, count))
            async with database.write() as connection:
                await connection.execute(insert(models), [_model(n) for n in numbers])
                await connection.execute(insert(model_tags), [{"model_id": n + 1, "tag": _tag(n)} for n in numbers])
                await connection.execute(insert(versions), [row for n in numbers for row in _versions(n)])
                moved = {"etag": 1, "update_time": _time(0)}
                await connection.execute(
                    insert(aliases), [{"model_id": n + 1, "alias": ALIAS, **moved} for n in numbers]
                )
                target = {"alias": ALIAS, "version": VERSIONS_EACH - 1, "weight": 1}
                await connection.execute(insert(alias_targets), [{"model_id": n + 1, **target} for n in numbers])


def _model(number: int) -> dict[str, Any]:
    words = random.Random(number)
    name = f"bench{number % NAMESPACES}/model-{number}"
    return {
        "id": number + 1,
        "key": name,
        "namespace_key": f"bench{number % NAMESPACES}",
        "name": name,
        "description": " ".join(words.choices(WORDS, k=8)),
        "task": TASKS[number % len(TASKS)],
        "licence": LICENCES[number % len(LICENCES)],
        "tags": [_tag(number)],
        "card": " ".join(words.choices(WORDS, k=60)),
        "architecture": "BertModel",
        "parameters": number * 1000,
        "size_bytes": number * 4000,
        "latest_version": VERSIONS_EACH,
        "newest_version": VERSIONS_EACH,
        "etag": 1,
        "create_time": _time(number),
        "update_time": _time(number),
    }


def _versions(number: int) -> Iterator[dict[str, Any]]:
    facts = {"architecture": "BertModel", "task": TASKS[number % len(TASKS)], "parameters": number * 1000}
    for version in range(1, VERSIONS_EACH + 1):
        yield {
            "model_id": number + 1,
            "version": version,
            "manifest_digest": f"{number * VERSIONS_EACH + version:064x}",
            "state": "READY",
            "facts": {**facts, "labels": []},
            "source": "",
            "creator": "bench",
            "create_time": _time(number),
        }


def _tag(number: int) -> str:
    return WORDS[number % len(WORDS)]


def _time(number: int) -> datetime:
    return datetime.fromtimestamp(TIME / 1e6 + number, UTC)
