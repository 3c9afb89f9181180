"""Settings that every server has, read from the environment by its main alone."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["ServerSettings"]


class ServerSettings(BaseSettings):
    """Each field is the environment variable ZOO_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="ZOO_")

    listen: str = "127.0.0.1:0"
    """Address that the gRPC server binds: `host:port`."""
    metrics_listen: str = ""
    """Address of the Prometheus endpoint: `host:port`; empty serves none."""
    trust: Path
    """Trust file: who may assert which principals."""
    identity: Path | None = None
    """This service's own signing key, where it calls others."""
    drain_s: float = 30.0
    """Seconds that calls in flight have to finish after SIGTERM."""
    concurrent_calls: int = 2000
    """Calls served at once; more are refused with RESOURCE_EXHAUSTED."""
    message_bytes: int = 68 * 1024 * 1024
    """Largest message taken or sent, in bytes."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
