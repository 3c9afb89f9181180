"""What the catalog reads from its environment, beside what every server does."""

from pathlib import Path

from pydantic import Field

from zoo_catalog.watches import WATCHES_MOST
from zoo_server.settings import ServerSettings

__all__ = ["Settings"]


class Settings(ServerSettings):
    """Each field is the environment variable ZOO_<NAME>."""

    # Required here.
    identity: Path  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride]
    """This service's own signing key, for its calls of the artifact service."""
    database_url: str = Field(repr=False)
    """Where the tables are: `sqlite:////path/catalog.db` for one replica, or for any number
    `postgresql://user:password@host:port/database?schema=catalog`; `sslmode` and so on as for libpq."""
    artifact: str
    """Address of the artifact service: `host:port`."""
    purge_interval_s: float = 300.0
    """Seconds between two looks for what was deleted and can no longer be undeleted."""
    bootstrap_key_file: Path | None = None
    """File with the secret of the first admin's key; without it nobody can do anything in an empty catalog."""
    pin_interval_s: float = 6 * 3600
    """Seconds after which everything that versions name is pinned again in the artifact service, and what namespaces
    allow is told it again."""
    watches: int = WATCHES_MOST
    """Watches of the log of changes that one subject may hold at each replica; WATCHES_TOO_MANY beyond."""
