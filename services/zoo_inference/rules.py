"""Who may run what: an invoker of the namespace that the reference names. For a stranger to it nothing is there."""

from typing import Any

from modelzoo.errors import NotFound
from modelzoo.reference import parse
from zoo_server.authorization import Needs, Rules
from zoo_server.principal import Role

__all__ = ["RULES", "SERVICE"]

SERVICE = "zoo.inference.v1.InferenceService"


def _namespace(message: Any) -> tuple[str]:
    # REFERENCE_INVALID where it is none: that tells nobody what exists.
    return (parse(message.model).namespace,)


def _hidden(message: Any) -> NotFound:
    # What the catalog says of a model that is not there.
    model = parse(message.model).model
    return NotFound(
        "MODEL_NOT_FOUND",
        f"there is no model {model!r}, or none that you may see: list models, or ask an admin for a grant",
    )


_INVOKER = Needs(Role.INVOKER, _namespace, _hidden)

_METHODS = (
    "Generate",
    "StreamGenerate",
    "Embed",
    "ClassifyText",
    "ClassifyImage",
    "DetectObjects",
    "Transcribe",
)

RULES: Rules = {f"/{SERVICE}/{method}": _INVOKER for method in _METHODS}
