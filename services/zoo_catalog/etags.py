"""Etags (AIP-154): who writes with the etag that was read is refused if somebody else wrote in between."""

from modelzoo.errors import Aborted

__all__ = ["check_etag"]


def check_etag(given: str, current: str, resource: str) -> None:
    """Return where `given` is '' or the current one. Raises ETAG_MISMATCH."""
    if given and given != current:
        raise Aborted(
            "ETAG_MISMATCH",
            f"{resource} was changed since it was read: read it again and repeat",
            metadata={"etag": current},
        )
