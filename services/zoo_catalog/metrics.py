"""Metrics: what was measured with a version, one number for each dataset, split and name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

__all__ = ["METRICS_MOST", "Metric", "metric_from_json", "metric_to_json", "replaced"]

METRICS_MOST = 1000


@dataclass(frozen=True, slots=True)
class Metric:
    """`split` '': all of the dataset, or nothing said. `value` is finite."""

    dataset: str
    split: str
    name: str
    value: float
    update_time: datetime

    @property
    def key(self) -> tuple[str, str, str]:
        return self.dataset, self.split, self.name


def replaced(old: Iterable[Metric], new: Iterable[Metric]) -> tuple[Metric, ...]:
    """Both, the new ones in place of old ones of the same key, in order of keys."""
    by_key = {metric.key: metric for metric in (*old, *new)}
    return tuple(by_key[key] for key in sorted(by_key))


def metric_to_json(metric: Metric) -> dict[str, Any]:
    return {
        "dataset": metric.dataset,
        "split": metric.split,
        "name": metric.name,
        "value": metric.value,
        "update_time": metric.update_time.isoformat(),
    }


def metric_from_json(value: Mapping[str, Any]) -> Metric:
    time = datetime.fromisoformat(value["update_time"]).astimezone(UTC)
    return Metric(value["dataset"], value["split"], value["name"], value["value"], time)
