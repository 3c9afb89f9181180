"""What the artifact service reads from its environment, beside what every server does."""

from pydantic import Field

from zoo_artifact.upkeep import HOLDERS
from zoo_server.settings import ServerSettings

__all__ = ["Settings"]


class Settings(ServerSettings):
    """Each field is the environment variable ZOO_<NAME>."""

    database_url: str = Field(repr=False)
    """Where the index is: `sqlite:////path/artifact.db` for one replica, or for any number
    `postgresql://user:password@host:port/database?schema=artifact`; `sslmode` and so on as for libpq."""
    blobs_url: str
    """Where the bytes are: `s3://bucket/prefix?endpoint=http://host:port&region=us-east-1`."""
    blobs_public_url: str = ""
    """Where callers reach the same object store, so that bytes need not pass through this service: `http://host:port`.
    Empty: they do not reach it."""
    access_key: str = Field(validation_alias="AWS_ACCESS_KEY_ID")
    """The object store's access key: AWS_ACCESS_KEY_ID."""
    secret_key: str = Field(validation_alias="AWS_SECRET_ACCESS_KEY", repr=False)
    """Its secret key: AWS_SECRET_ACCESS_KEY."""
    sweep_grace_s: float = Field(default=86_400, ge=3_600)
    """Seconds for which everything that was put, sent or asked for is kept without a pin."""
    sweep_interval_s: float = Field(default=86_400, ge=0)
    """Seconds between sweeps; 0: only by command."""
    scrub_interval_s: float = Field(default=86_400, ge=0)
    """Seconds between checks of a sample of what is stored; 0: only by command."""
    scrub_sample: float = Field(default=0.01, ge=0, le=1)
    """Share of the blobs that such a check reads."""
    scrub_bytes_per_s: float = Field(default=8 * 1024 * 1024, gt=0)
    """Bytes a second that it reads at most."""
    holders: tuple[str, ...] = HOLDERS
    """Subjects that must have pinned again before anything is swept after the index was rebuilt, as JSON."""
