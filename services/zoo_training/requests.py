"""What request ids were used for: zoo_server.request_ids, in this service's table."""

from typing import ClassVar

from sqlalchemy import Table

from zoo_server.request_ids import KeptRequest
from zoo_training.schema import requests

__all__ = ["Request"]


class Request(KeptRequest):
    """See KeptRequest."""

    __slots__ = ()
    table: ClassVar[Table] = requests
