"""What a worker reads from its environment, beside what every server does."""

from pathlib import Path

from zoo_server.settings import ServerSettings

__all__ = ["Settings"]


class Settings(ServerSettings):
    """Each field is the environment variable ZOO_<NAME>."""

    identity: Path  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride]
    """This worker's own signing key, for its calls of the catalog and the artifact service."""
    artifact: str
    """Address of the artifact service: `host:port`."""
    catalog: str
    """Address of the catalog: `host:port`."""
    redis_url: str
    """Where presence is announced: `redis://host:port/database`."""
    cache_dir: Path
    """Folder of the node cache, which all workers of a node share."""
    cache_bytes: int = 64 * 1024**3
    """Bytes of disk that the node cache may take."""
    memory_bytes: int = 4 * 1024**3
    """Bytes of memory that models may take."""
    batch_memory_bytes: int = 512 * 1024**2
    """Bytes of memory, for each text-generating model, for the texts that it makes at once."""
    batch_requests: int = 16
    """Texts that one model makes at once."""
    queue: int = 128
    """Requests taken at once, waiting ones included, before QUEUE_FULL."""
    threads: int = 2
    """Threads of one computation."""
    resource_class: str = "cpu"
    """What this worker runs on, as aliases ask for it."""
    advertise: str = ""
    """Address at which others reach this worker: `ip:port`. Empty: the one that it listens on."""
