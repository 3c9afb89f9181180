"""Who may call what of the training service. Making needs TRAINER in the output's namespace.

Other methods name a job or a sweep alone: whose it is must be looked up first, and the methods themselves check that
(see `access.py`). Whoever has no role in its namespace is answered as if it did not exist.
"""

from collections.abc import Callable
from typing import Any

from modelzoo.errors import NotFound
from modelzoo.reference import parse
from zoo_server.authorization import Needs, Only, Open, Rules
from zoo_server.credentials import TRAINER
from zoo_server.principal import Role

__all__ = ["RULES", "SERVICES", "TRAINER_SERVICE", "TRAINING"]

TRAINING = "zoo.training.v1.TrainingService"
TRAINER_SERVICE = "zoo.training.v1.TrainerService"
SERVICES = (TRAINING, TRAINER_SERVICE)


def _makes(output: Callable[[Any], str]) -> Needs:
    """`output` reads the output's name from the message; REFERENCE_INVALID tells nobody what exists."""

    def namespaces(message: Any) -> tuple[str]:
        return (parse(output(message)).namespace,)

    def hidden(message: Any) -> NotFound:
        namespace = parse(output(message)).namespace
        # What the catalog says of a namespace that is not there.
        return NotFound(
            "NAMESPACE_NOT_FOUND",
            f"there is no namespace {namespace!r}, or none that you may see: "
            "list namespaces, or ask an admin for a grant",
        )

    return Needs(Role.TRAINER, namespaces, hidden)


_LOOKED_UP = ("GetJob", "ListJobs", "UpdateJob", "CancelJob", "PauseJob", "ResumeJob", "WatchJob", "GetSweep")
_TRAINERS = ("RegisterTrainer", "LeaseJob", "RenewJob", "ReleaseJob")

RULES: Rules = {
    f"/{TRAINING}/CreateJob": _makes(lambda message: message.job.spec.output),
    f"/{TRAINING}/CreateSweep": _makes(lambda message: message.sweep.spec.output),
    **{f"/{TRAINING}/{method}": Open.TO_AUTHENTICATED for method in _LOOKED_UP},
    f"/{TRAINING}/ListRecipes": Open.TO_AUTHENTICATED,
    **{f"/{TRAINER_SERVICE}/{method}": Only(TRAINER) for method in _TRAINERS},
}
