"""The files that servers read at their start: Redis's and Envoy's configuration, written anew for every start."""

from zoo_gateway.envoy_config import EnvoySettings, envoy_config
from zoo_gateway.routes import descriptors_path, load_descriptors
from zoo_local.processes import HOST, Plan
from zoo_server.credentials import write_secret

__all__ = ["write_configuration"]

ENVOY_DRAIN_S = 1

REDIS = """\
bind {host}
port {port}
protected-mode yes
requirepass {password}
dir "{folder}"
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
"""


def write_configuration(plan: Plan) -> None:
    """Leave both files where `plan_processes` says that the servers look."""
    redis = REDIS.format(
        host=HOST, port=plan.ports["redis"], password=plan.credentials.redis_password, folder=plan.layout.redis
    )
    write_secret(plan.layout.redis_config, redis)
    settings = EnvoySettings(
        listen=f"{HOST}:{plan.ports['envoy']}",
        admin=f"{HOST}:{plan.ports['envoy.admin']}",
        gateway=f"{HOST}:{plan.ports['gateway']}",
        catalog=f"{HOST}:{plan.ports['catalog']}",
        artifact=f"{HOST}:{plan.ports['artifact']}",
        training=f"{HOST}:{plan.ports['training']}",
        endpoints_dir=plan.layout.endpoints,
        descriptors=descriptors_path(),
        drain_s=ENVOY_DRAIN_S,
    )
    plan.layout.envoy_config.write_text(envoy_config(settings, load_descriptors()))
