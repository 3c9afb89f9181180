"""What a trainer reads from its environment, beside what every server does."""

from pathlib import Path

from zoo_server.settings import ServerSettings

__all__ = ["Settings"]


class Settings(ServerSettings):
    """Each field is the environment variable ZOO_<NAME>. It listens for health alone."""

    identity: Path  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride]
    """This trainer's own signing key, for its calls of the training service."""
    training: str
    """Address of the training service: `host:port`."""
    artifact: str
    """Address of the artifact service: `host:port`; jobs call it as themselves."""
    cache_dir: Path
    """Folder of the node cache, which all workers and trainers of a node share."""
    cache_bytes: int = 64 * 1024**3
    """Bytes of disk that the node cache may take."""
    work_dir: Path
    """Folder for rows, checkpoints and results of the job in hand; agents of a node may share it."""
    resource_class: str = "cpu"
    """What this trainer runs on, as jobs ask for it."""
    threads: int = 2
    """Threads of one training."""
    memory_bytes: int = 0
    """Bytes of memory that a training may take, mapped files not counted. 0: as much as there is."""
    processes: int = 1
    """Processes of one training at most, which share its threads and its memory; on GPUs, as many as there are."""
    ray_address: str = ""
    """Address of the Ray cluster of this node, `host:port`, for jobs of the executor `ray`. Empty: it takes none."""
    ray_cpus: int = 1
    """CPUs of Ray that each of their processes takes."""
    ray_gpus: int = 0
    """GPUs of Ray that each of their processes takes: 0 or 1."""
