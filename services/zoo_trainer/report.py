"""What the child tells the agent: messages of the training service as lines of JSON."""

import threading
from typing import IO

from google.protobuf import json_format

from zoo.training.v1 import event_pb2 as pb
from zoo.training.v1 import trainer_service_pb2 as trainer_pb

__all__ = ["EVENT", "RELEASE", "Report", "read_line"]

EVENT, RELEASE = "event", "release"
LOG_CHARACTERS_MAX = 16_000  # of 16,384


class Report:
    """Writes a line at once for whatever it is told. Any thread may tell it."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def event(self, event: pb.Event) -> None:
        self._write(EVENT, event)

    def log(self, text: str, severity: pb.Severity.ValueType = pb.SEVERITY_INFO) -> None:
        self.event(pb.Event(log=pb.Log(severity=severity, text=text[-LOG_CHARACTERS_MAX:])))

    def release(self, release: trainer_pb.ReleaseJobRequest) -> None:
        """How the attempt ended; the last that is said."""
        self._write(RELEASE, release)

    def _write(self, kind: str, message: pb.Event | trainer_pb.ReleaseJobRequest) -> None:
        line = f"{kind} {json_format.MessageToJson(message, indent=None)}\n"
        with self._lock:
            self._stream.write(line)
            self._stream.flush()


def read_line(line: str) -> pb.Event | trainer_pb.ReleaseJobRequest | None:
    """What a line says; None for one that was cut off with its writer."""
    kind, _, content = line.partition(" ")
    message = {EVENT: pb.Event, RELEASE: trainer_pb.ReleaseJobRequest}.get(kind)
    if message is None or not content.endswith("\n"):
        return None
    try:
        return json_format.Parse(content, message())
    except json_format.ParseError:
        return None
