"""Labels and metrics of versions once more, one a row, so that versions are found by them.

What is shown stands in `versions`; whoever writes it there writes it here, in the same transaction.
"""

from collections.abc import Iterable, Mapping

from sqlalchemy import delete, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from zoo_catalog.metrics import Metric
from zoo_catalog.schema import version_labels, version_metrics

__all__ = ["put_label_rows", "put_metric_rows"]


async def put_label_rows(connection: AsyncConnection, model_id: int, version: int, labels: Mapping[str, str]) -> None:
    """The version has these labels and no others."""
    own = version_labels.c.model_id == model_id, version_labels.c.version == version
    await connection.execute(delete(version_labels).where(*own))
    if labels:
        rows = [{"model_id": model_id, "version": version, "name": n, "value": v} for n, v in labels.items()]
        await connection.execute(insert(version_labels), rows)


async def put_metric_rows(connection: AsyncConnection, model_id: int, version: int, metrics: Iterable[Metric]) -> None:
    """The version has these metrics and no others."""
    own = version_metrics.c.model_id == model_id, version_metrics.c.version == version
    await connection.execute(delete(version_metrics).where(*own))
    rows = [
        {
            "model_id": model_id,
            "version": version,
            "dataset": each.dataset,
            "split": each.split,
            "name": each.name,
            "value": float(each.value),
        }
        for each in metrics
    ]
    if rows:
        await connection.execute(insert(version_metrics), rows)
