"""The process `zoo-kubernetes-credentials`: run by a Job until every Secret is there."""

import logging

from pydantic_settings import BaseSettings, SettingsConfigDict

from zoo_kubernetes.api import ApiSecrets
from zoo_kubernetes.secrets import ensure_secrets
from zoo_server.log import configure_logging

__all__ = ["Settings", "main"]

log = logging.getLogger(__name__)


class Settings(BaseSettings):
    """Each field is the environment variable ZOO_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="ZOO_")

    api_server: str = "https://kubernetes.default.svc"
    """Address of the API server."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""


def main() -> None:
    settings = Settings()
    configure_logging(settings.log_level)
    made = ensure_secrets(ApiSecrets(settings.api_server))
    log.info("Secrets made: %s", ", ".join(made) or "none, all were there")


if __name__ == "__main__":
    main()
