"""Who a job is to other services: it reads its base and its dataset and pushes what it makes, and that is all.

Roles go by namespace: so it reads what else is in those of base and dataset, and publishes where its output is.
"""

from zoo_server.credentials import JOB_PREFIX
from zoo_server.principal import Principal, Role
from zoo_training.spec import Source

__all__ = ["job_principal"]


def job_principal(job: str, output: str, base: Source, dataset: Source) -> Principal:
    """The principal of the job of this name, whose output is the model `namespace/name`."""
    roles = {source.namespace: Role.VIEWER for source in (base, dataset)}
    roles[output.partition("/")[0]] = Role.PUBLISHER
    return Principal(f"{JOB_PREFIX}{job}", roles)
