"""The process `zoo-envoy`: Envoy with the configuration of this release, drained before it ends.

What is rendered here instead of being kept in a manifest cannot be older or newer than the protos it transcodes by.
"""

import asyncio
import signal
import sys
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

from zoo_gateway.endpoints import EndpointsFile
from zoo_gateway.envoy_config import EnvoySettings, envoy_config
from zoo_gateway.envoy_drain import EnvoyDrain
from zoo_gateway.routes import descriptors_path, load_descriptors

__all__ = ["Settings", "main"]

# From SIGTERM on callers are told to go; for so long those who have not read it yet are served all the same.
FAREWELL_S = 5


class Settings(BaseSettings):
    """Each field is the environment variable ZOO_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="ZOO_")

    binary: Path = Path("envoy")
    """Envoy's program."""
    config_dir: Path
    """Folder in which its configuration is written."""
    endpoints_dir: Path
    """Folder of the file that tells Envoy the workers' addresses; zoo-gateway writes it."""
    listen: str = "0.0.0.0:8080"
    """Address that callers connect to: `host:port`."""
    admin: str = "127.0.0.1:9901"
    """Address of Envoy's admin interface, which has no password: of this machine alone."""
    gateway: str = "127.0.0.1:9000"
    """Address of zoo-gateway: `host:port`."""
    catalog: str
    """Address of the catalog: `host:port`."""
    artifact: str
    """Address of the artifact service: `host:port`."""
    training: str
    """Address of the training service: `host:port`."""
    drain_s: float = 30.0
    """Seconds that calls in flight have to finish after SIGTERM."""


async def serve(settings: Settings) -> int:
    """Run Envoy until a signal, or until it ends by itself; its exit code."""
    config = settings.config_dir / "envoy.yaml"
    config.write_text(_config(settings))
    EndpointsFile(settings.endpoints_dir).ensure()
    process = await asyncio.create_subprocess_exec(
        str(settings.binary),
        *("--config-path", str(config), "--disable-hot-restart", "--log-level", "warning"),
        # Its own way is to tell a few callers at a time, over ten minutes.
        *("--drain-strategy", "immediate", "--drain-time-s", str(FAREWELL_S)),
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ended = asyncio.ensure_future(process.wait())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not ended.done():
        await EnvoyDrain(int(settings.admin.rpartition(":")[2]), settings.drain_s).drain()
        process.terminate()
    return await ended


def _config(settings: Settings) -> str:
    envoy = EnvoySettings(
        listen=settings.listen,
        admin=settings.admin,
        gateway=settings.gateway,
        catalog=settings.catalog,
        artifact=settings.artifact,
        training=settings.training,
        endpoints_dir=settings.endpoints_dir,
        descriptors=descriptors_path(),
        drain_s=FAREWELL_S,
    )
    return envoy_config(envoy, load_descriptors())


def main() -> None:
    settings = Settings()  # pyright: ignore[reportCallIssue] - the environment gives the rest
    sys.exit(asyncio.run(serve(settings)))


if __name__ == "__main__":
    main()
