"""Field masks (AIP-134): which fields an update changes."""

from collections.abc import Collection

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from modelzoo.errors import InvalidArgument

__all__ = ["changed_paths"]


def changed_paths(mask: FieldMask, resource: Message, allowed: Collection[str]) -> tuple[str, ...]:
    """The paths that an update changes: those of its mask, or where that is empty, all that are set and may change.

    `allowed` are paths; one that ends in `.*` allows whatever stands for the star. Raises FIELD_INVALID for others.
    """
    if not mask.paths:
        return tuple(field.name for field, _ in resource.ListFields() if field.name in allowed)
    for path in mask.paths:
        if path not in allowed and f"{path.partition('.')[0]}.*" not in allowed:
            raise InvalidArgument(
                "FIELD_INVALID",
                f"update_mask has {path[:80]!a}; what can be changed is {', '.join(sorted(allowed))}",
                field="update_mask",
                metadata={"field": "update_mask"},
            )
    return tuple(mask.paths)
