"""What the catalog reads from its environment, beside what every server does."""

from pathlib import Path

from zoo_server.settings import ServerSettings

__all__ = ["Settings"]


class Settings(ServerSettings):
    """Each field is the environment variable ZOO_<NAME>."""

    # Required here.
    identity: Path  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride]
    """This service's own signing key, for its calls of the artifact service."""
    database_url: str
    """Where the tables are: `sqlite:////path/catalog.db`."""
    artifact: str
    """Address of the artifact service: `host:port`."""
    bootstrap_key_file: Path | None = None
    """File with the secret of the first admin's key; without it nobody can do anything in an empty catalog."""
    pin_interval_s: float = 6 * 3600
    """Seconds after which everything that versions name is pinned again in the artifact service."""
