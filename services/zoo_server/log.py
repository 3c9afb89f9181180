"""Logs as JSON lines on stderr: time, level, logger, message, and the request id of the call being served."""

import json
import logging
import sys
import time
from typing import Any

from zoo_server.call import current_call

__all__ = ["configure_logging"]


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        call = current_call()
        if call is not None:
            line |= {"request_id": call.request_id, "method": call.method, "subject": call.principal.subject}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging(level: str = "INFO") -> None:
    """Send everything of `level` and above to stderr. Libraries that talk much are held to warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in ("botocore", "boto3", "urllib3", "sqlalchemy.engine", "alembic", "aiosqlite"):
        logging.getLogger(name).setLevel(logging.WARNING)
