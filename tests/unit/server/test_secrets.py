"""No service starts with a secret that nobody chose."""

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings

import zoo_artifact.settings
import zoo_catalog.settings
import zoo_gateway.settings
import zoo_inference.settings

NEEDED = {
    zoo_artifact.settings.Settings: {"trust", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    zoo_catalog.settings.Settings: {"trust", "identity"},
    zoo_gateway.settings.GatewaySettings: {"trust", "identity"},
    zoo_inference.settings.Settings: {"trust", "identity"},
}


@pytest.mark.parametrize("settings", NEEDED, ids=lambda settings: settings.__module__)
def test_without_its_secrets_a_service_does_not_start(
    settings: type[BaseSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*(f"ZOO_{name.upper()}" for name in settings.model_fields), *NEEDED[settings]):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValidationError) as caught:
        settings()
    missing = {error["loc"][0] for error in caught.value.errors() if error["type"] == "missing"}
    assert missing >= NEEDED[settings]
