"""What can go wrong with a cluster on this machine, each with a sentence that says what to do.

    FailedPrecondition
    ├── AlreadyUp        another supervisor has this data folder
    ├── BinaryMissing    a server is not installed
    ├── DataUnusable     the data folder cannot be made, or has a name that cannot be used
    ├── PortTaken        somebody else listens where this cluster should
    └── StartFailed      a process does not come up; the message ends with the end of its log
    ResourceExhausted
    └── DiskFull
    Unavailable
    └── NotUp            no cluster runs on this data folder

They never cross the wire; those with a reason share it with the service's error of the same meaning.
"""

from pathlib import Path

from modelzoo.errors import FailedPrecondition, ResourceExhausted, Unavailable

__all__ = ["AlreadyUp", "BinaryMissing", "DataUnusable", "DiskFull", "NotUp", "PortTaken", "StartFailed"]


class AlreadyUp(FailedPrecondition):
    def __init__(self, message: str) -> None:
        super().__init__("", message)


class BinaryMissing(FailedPrecondition):
    def __init__(self, message: str) -> None:
        super().__init__("", message)


class DataUnusable(FailedPrecondition):
    def __init__(self, message: str) -> None:
        super().__init__("", message)


class PortTaken(FailedPrecondition):
    def __init__(self, message: str) -> None:
        super().__init__("", message)


class StartFailed(FailedPrecondition):
    def __init__(self, message: str) -> None:
        super().__init__("", message)


class DiskFull(ResourceExhausted):
    def __init__(self, message: str) -> None:
        super().__init__("DISK_FULL", message)


class NotUp(Unavailable):
    def __init__(self, message: str, folder: Path) -> None:
        super().__init__("SERVER_UNREACHABLE", message, metadata={"data": str(folder)})
