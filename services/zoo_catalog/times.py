"""Times on the wire."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from modelzoo.errors import InvalidArgument

__all__ = ["time_from_pb", "time_to_pb"]


def time_to_pb(time: datetime | None) -> Timestamp | None:
    """None stays unset."""
    if time is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp


def time_from_pb(timestamp: Timestamp, field: str) -> datetime:
    """Raises FIELD_INVALID, naming the field, for what is no time between the years 1 and 9999."""
    try:
        return timestamp.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(
            "FIELD_INVALID",
            f"{field} is no time between the years 1 and 9999",
            field=field,
            metadata={"field": field},
        ) from error
