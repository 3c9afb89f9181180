"""What the training service reads from its environment, beside what every server does."""

from pathlib import Path

from pydantic import Field

from zoo_server.settings import ServerSettings

__all__ = ["Settings"]


class Settings(ServerSettings):
    """Each field is the environment variable ZOO_<NAME>."""

    # Required here.
    identity: Path  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride]
    """This service's own signing key: for its calls of other services, and for its jobs' principals."""
    database_url: str = Field(repr=False)
    """Where the tables are: `sqlite:////path/training.db` for one replica, or for any number
    `postgresql://user:password@host:port/database?schema=training`; `sslmode` and so on as for libpq."""
    redis_url: str = Field(repr=False)
    """Redis with the queue's order: `redis://host:port/database`. What is lost there is made again from the tables."""
    artifact: str
    """Address of the artifact service: `host:port`."""
    catalog: str
    """Address of the catalog: `host:port`."""
    pin_interval_s: float = 6 * 3600
    """Seconds after which everything that jobs need is pinned again in the artifact service."""
