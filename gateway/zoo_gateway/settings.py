"""Settings of the gateway's deciding half, read from the environment by main alone."""

from pathlib import Path

from zoo_server.settings import ServerSettings

__all__ = ["GatewaySettings"]


class GatewaySettings(ServerSettings):
    """Each field is the environment variable ZOO_<NAME>; `listen` serves the picker and the gateway's own services."""

    identity: Path  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride] - required here
    """The key that signs callers' principals: JSON, as zoo_server.principal.Signer saves it."""
    redis_url: str
    """Redis with the workers' presence: `redis://host:port/database`."""
    catalog: str
    """Address of the catalog, which tells of keys and grants: `host:port`."""
    endpoints_dir: Path
    """Folder of the file that tells Envoy the workers' addresses; Envoy watches it."""
