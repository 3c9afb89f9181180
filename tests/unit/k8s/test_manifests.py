"""The manifests against what the programs really take. The rendered file is what people apply."""

import copy
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from pydantic_settings import BaseSettings

import zoo_artifact.settings
import zoo_backup.main
import zoo_catalog.settings
import zoo_gateway.envoy_process
import zoo_gateway.settings
import zoo_inference.settings
import zoo_kubernetes.main
import zoo_trainer.settings
import zoo_training.settings
from support.manifest_check import Program, findings
from support.manifest_pods import arguments, pods
from support.servers import RedisServer
from zoo_backup.source import SOURCES
from zoo_kubernetes.secrets import secrets_of
from zoo_server.credentials import make_credentials

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
OURS: dict[str, type[BaseSettings]] = {
    "zoo-artifact": zoo_artifact.settings.Settings,
    "zoo-catalog": zoo_catalog.settings.Settings,
    "zoo-training": zoo_training.settings.Settings,
    "zoo-trainer": zoo_trainer.settings.Settings,
    "zoo-worker": zoo_inference.settings.Settings,
    "zoo-gateway": zoo_gateway.settings.GatewaySettings,
    "zoo-envoy": zoo_gateway.envoy_process.Settings,
    "zoo-kubernetes-credentials": zoo_kubernetes.main.Settings,
}
# Variables that hold an address, and the program that is meant.
CALLS = {
    "ZOO_ARTIFACT": "zoo-artifact",
    "ZOO_CATALOG": "zoo-catalog",
    "ZOO_TRAINING": "zoo-training",
    "ZOO_GATEWAY": "zoo-gateway",
    "ZOO_REDIS_URL": "redis-server",
    "ZOO_BLOBS_URL": "weed",
}


def of_ours(settings: type[BaseSettings]) -> Program:
    names = {str(f.validation_alias or f"ZOO_{name.upper()}"): f for name, f in settings.model_fields.items()}
    required = frozenset(name for name, field in names.items() if field.is_required())
    return Program(
        required,
        frozenset(names) - required,
        listens=("ZOO_LISTEN", "ZOO_METRICS_LISTEN"),
        calls=CALLS,
        keeps=("ZOO_DATABASE_URL",),
        kinds={name: field.annotation for name, field in names.items()},
    )


def of_weed() -> Program:
    help_ = subprocess.run([BIN / "weed", "help", "mini"], capture_output=True, text=True, check=False)
    flags = frozenset(f"-{name}" for name in re.findall(r"^  -([\w.]+)", help_.stderr + help_.stdout, re.MULTILINE))
    assert len(flags) > 50
    keys = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"})
    return Program(keys, frozenset({"GOMEMLIMIT"}), flags | {"-logtostderr"}, ("-s3.port",), keeps=("-dir",))


def of_redis(url: str) -> Program:
    with redis.Redis.from_url(url) as server:
        directives = server.config_get("*")
    # Which it takes and does not tell.
    return Program(flags=frozenset(f"--{name}" for name in [*directives, "rename-command"]), listens=("--port",))


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    folder = tmp_path_factory.mktemp("credentials")
    make_credentials(folder)
    made = secrets_of({path.name: path.read_text() for path in folder.iterdir()})
    return {name: set(files) for name, files in made.items()}


@pytest.fixture(scope="module")
def programs(redis_shared: RedisServer) -> dict[str, Program]:
    return {name: of_ours(settings) for name, settings in OURS.items()} | {
        "weed": of_weed(),
        "redis-server": of_redis(redis_shared.url()),
    }


@pytest.fixture(scope="module")
def rendered() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "k8s" / "zoo.yaml").read_text()))


@pytest.fixture
def manifests(rendered: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A test's own, to plant faults in."""
    return copy.deepcopy(rendered)


def container(manifests: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(one for pod in pods(manifests) for one in pod.containers if one["name"] == name)


def named(manifests: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    return next(one for one in manifests if one["kind"] == kind and one["metadata"]["name"] == name)


def variable(container: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in container["env"] if entry["name"] == name)


def test_the_manifests_start_what_there_is(
    manifests: list[dict[str, Any]], programs: dict[str, Program], secrets: dict[str, set[str]]
) -> None:
    assert findings(manifests, programs, secrets) == []


def overlay(name: str) -> list[dict[str, Any]]:
    folder = ROOT / "k8s" / "overlays" / name
    rendered = subprocess.run([BIN / "kubectl", "kustomize", folder], capture_output=True, check=True)
    return list(yaml.safe_load_all(rendered.stdout))


def test_an_external_s3_leaves_nothing_dangling(programs: dict[str, Program], secrets: dict[str, set[str]]) -> None:
    assert findings(overlay("external-s3"), programs, secrets) == []


def test_with_postgresql_catalog_and_training_run_twice_and_keep_nothing_in_their_pods(
    programs: dict[str, Program], secrets: dict[str, set[str]]
) -> None:
    manifests = overlay("postgresql")
    with_urls = secrets | {"zoo-postgresql": {"catalog_url", "training_url", "artifact_url"}}
    assert findings(manifests, programs, with_urls) == []
    for name in ("catalog", "training"):
        assert named(manifests, "StatefulSet", name)["spec"]["replicas"] == 2
    assert "sqlite" not in yaml.safe_dump(manifests)


def test_the_nightly_backup_has_what_its_program_wants_and_reaches_the_bucket(
    programs: dict[str, Program], secrets: dict[str, set[str]], tmp_path: Path
) -> None:
    k8s = os.path.relpath(ROOT / "k8s", tmp_path)
    parts = {"resources": [f"{k8s}/overlays/postgresql"], "components": [f"{k8s}/components/backup"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(parts))
    rendered = subprocess.run([BIN / "kubectl", "kustomize", tmp_path], capture_output=True, check=True)
    manifests = list(yaml.safe_load_all(rendered.stdout))
    urls = {f"ZOO_{source.name.upper()}_DATABASE_URL" for source in SOURCES}
    programs["zoo-backup"] = Program(
        frozenset({*urls, "ZOO_BLOBS_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}),
        flags=frozenset({"--only", "--force"}),
        calls=CALLS,
    )
    assert (
        findings(manifests, programs, secrets | {"zoo-postgresql": {"catalog_url", "training_url", "artifact_url"}})
        == []
    )
    job = named(manifests, "CronJob", "backup")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert zoo_backup.main.parsed(job["containers"][0]["command"][1:]).command == "make"


def wrong_listen(manifests: list[dict[str, Any]]) -> None:
    variable(container(manifests, "artifact"), "ZOO_LISTEN")["value"] = "0.0.0.0:9001"


def wrong_service_port(manifests: list[dict[str, Any]]) -> None:
    named(manifests, "Service", "catalog")["spec"]["ports"][0]["port"] = 9001


def wrong_target(manifests: list[dict[str, Any]]) -> None:
    named(manifests, "Service", "gateway")["spec"]["ports"][0]["targetPort"] = "https"


def wrong_probe(manifests: list[dict[str, Any]]) -> None:
    container(manifests, "worker")["readinessProbe"]["grpc"]["port"] = 9999


def wrong_address(manifests: list[dict[str, Any]]) -> None:
    variable(container(manifests, "envoy"), "ZOO_ARTIFACT")["value"] = "artefact:9000"


def wrong_neighbour(manifests: list[dict[str, Any]]) -> None:
    variable(container(manifests, "envoy"), "ZOO_GATEWAY")["value"] = "127.0.0.1:9009"


def missing_variable(manifests: list[dict[str, Any]]) -> None:
    catalog = container(manifests, "catalog")
    catalog["env"].remove(variable(catalog, "ZOO_ARTIFACT"))


def unknown_variable(manifests: list[dict[str, Any]]) -> None:
    variable(container(manifests, "worker"), "ZOO_CACHE_BYTES")["name"] = "ZOO_CACHE_SIZE"


def undefined_reference(manifests: list[dict[str, Any]]) -> None:
    variable(container(manifests, "gateway"), "REDIS_PASSWORD")["name"] = "REDIS_PASS"


def unknown_argument(manifests: list[dict[str, Any]]) -> None:
    container(manifests, "seaweedfs")["command"].append("-s3.prot=8333")


def unknown_directive(manifests: list[dict[str, Any]]) -> None:
    container(manifests, "redis")["args"] += ["--max-memory", "200mb"]


def argument_where_there_is_none(manifests: list[dict[str, Any]]) -> None:
    container(manifests, "worker")["args"] = ["--verbose"]


def unknown_program(manifests: list[dict[str, Any]]) -> None:
    container(manifests, "catalog")["command"] = ["zoo-catalogue"]


def missing_secret_key(manifests: list[dict[str, Any]]) -> None:
    variable(container(manifests, "artifact"), "AWS_ACCESS_KEY_ID")["valueFrom"]["secretKeyRef"]["key"] = "access-key"


def path_on_no_volume(manifests: list[dict[str, Any]]) -> None:
    variable(container(manifests, "artifact"), "ZOO_DATABASE_URL")["value"] = "sqlite:////var/lib/artifact.db"


def another_program(manifests: list[dict[str, Any]]) -> None:
    variable(container(manifests, "worker"), "ZOO_CATALOG")["value"] = "artifact:9000"


def number_that_is_none(manifests: list[dict[str, Any]]) -> None:
    variable(container(manifests, "worker"), "ZOO_THREADS")["value"] = "two"


def deaf_to_others(manifests: list[dict[str, Any]]) -> None:
    variable(container(manifests, "artifact"), "ZOO_LISTEN")["value"] = "127.0.0.1:9000"


def caller_kept_out(manifests: list[dict[str, Any]]) -> None:
    rule = named(manifests, "NetworkPolicy", "catalog")["spec"]["ingress"][0]
    rule["from"] = [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "gateway"}}}]


def worker_kept_from_envoy(manifests: list[dict[str, Any]]) -> None:
    variable(container(manifests, "worker"), "ZOO_ADVERTISE")["value"] = "$(POD_IP):9100"


def caller_kept_in(manifests: list[dict[str, Any]]) -> None:
    del named(manifests, "NetworkPolicy", "worker")["spec"]["egress"][1]


def caller_without_names(manifests: list[dict[str, Any]]) -> None:
    del named(manifests, "NetworkPolicy", "worker")["spec"]["egress"][2]


def open_to_all(manifests: list[dict[str, Any]]) -> None:
    del named(manifests, "NetworkPolicy", "artifact")["spec"]["ingress"][0]["from"]


def two_catalogs(manifests: list[dict[str, Any]]) -> None:
    named(manifests, "StatefulSet", "catalog")["spec"]["replicas"] = 2


def tables_that_go_with_the_pod(manifests: list[dict[str, Any]]) -> None:
    variable(container(manifests, "catalog"), "ZOO_DATABASE_URL")["value"] = "sqlite:////tmp/catalog.db"


def no_time_to_drain(manifests: list[dict[str, Any]]) -> None:
    variable(container(manifests, "envoy"), "ZOO_DRAIN_S")["value"] = "50"


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (wrong_listen, "listens on 9001"),
        (wrong_service_port, "catalog:9000, where no Service is"),
        (wrong_target, "Service gateway leads to port https"),
        (wrong_probe, "asks port 9999"),
        (wrong_address, "artefact:9000, where no Service is"),
        (wrong_neighbour, "port 9009 of its own pod"),
        (missing_variable, "ZOO_ARTIFACT is missing"),
        (unknown_variable, "ZOO_CACHE_SIZE is read by nobody"),
        (undefined_reference, "$(REDIS_PASSWORD) is not defined"),
        (unknown_argument, "does not know the argument -s3.prot"),
        (unknown_directive, "does not know the argument --max-memory"),
        (argument_where_there_is_none, "zoo-worker does not know the argument --verbose"),
        (unknown_program, "no program zoo-catalogue"),
        (missing_secret_key, "access-key of the Secret zoo-s3"),
        (path_on_no_volume, "/var/lib/artifact.db is on no volume"),
        (another_program, "ZOO_CATALOG leads to something else than zoo-catalog"),
        (number_that_is_none, "does not take the value of ZOO_THREADS"),
        (deaf_to_others, "listens on 127.0.0.1:9000, where no other pod reaches it"),
        (caller_kept_out, "worker: ZOO_CATALOG: port 9000 of catalog does not let it in"),
        (worker_kept_from_envoy, "gateway: ZOO_ADVERTISE: port 9100 of worker does not let it in"),
        (caller_kept_in, "worker: ZOO_REDIS_URL: port 6379 of redis is none that it may call"),
        (caller_without_names, "worker: ZOO_CATALOG: port 9000 of catalog has a name that it may not look up"),
        (open_to_all, "artifact: everybody may call port 9000"),
        (two_catalogs, "two pods would write sqlite:////data/catalog.db at once"),
        (tables_that_go_with_the_pod, "sqlite:////tmp/catalog.db goes with the pod"),
        (no_time_to_drain, "gateway: it is killed before its drain can end"),
    ],
)
def test_a_planted_fault_is_found(
    manifests: list[dict[str, Any]],
    programs: dict[str, Program],
    secrets: dict[str, set[str]],
    plant: Callable[[list[dict[str, Any]]], None],
    says: str,
) -> None:
    plant(manifests)
    assert says in "\n".join(findings(manifests, programs, secrets))


def test_every_program_is_one_that_the_package_installs() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(OURS) <= set(scripts)


def test_every_image_is_a_target_of_the_dockerfile(manifests: list[dict[str, Any]]) -> None:
    images = {c["image"].partition(":")[0].partition("/")[2] for pod in pods(manifests) for c in pod.containers}
    targets = set(re.findall(r"^FROM runtime AS (\w+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert images == targets


def test_every_server_of_the_package_is_started_by_a_manifest(manifests: list[dict[str, Any]]) -> None:
    started = {arguments(one)[0] for pod in pods(manifests) for one in pod.containers}
    assert started >= set(OURS)


def test_zoo_gateway_serves_before_envoy_and_outlives_it(manifests: list[dict[str, Any]]) -> None:
    gateway = next(pod for pod in pods(manifests) if pod.name == "gateway")
    (sidecar,) = gateway.spec["initContainers"]
    assert (arguments(sidecar), sidecar["restartPolicy"]) == (["zoo-gateway"], "Always")
    assert [arguments(one) for one in gateway.spec["containers"]] == [["zoo-envoy"]]


def test_no_pod_runs_as_root_or_writes_to_its_image(manifests: list[dict[str, Any]]) -> None:
    found = list(pods(manifests))
    assert len(found) == 9
    for pod in found:
        assert pod.spec["securityContext"]["runAsNonRoot"] is True
        assert pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod.spec["automountServiceAccountToken"] is (pod.name == "zoo-credentials")
        # A Service of any name would otherwise put variables into every pod.
        assert pod.spec["enableServiceLinks"] is False
        for one in pod.containers:
            assert one["securityContext"]["allowPrivilegeEscalation"] is False
            assert one["securityContext"]["readOnlyRootFilesystem"] is True
            assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in one["resources"]["limits"]


def test_the_job_is_gone_before_a_later_release_brings_another(manifests: list[dict[str, Any]]) -> None:
    assert named(manifests, "Job", "zoo-credentials")["spec"]["ttlSecondsAfterFinished"] <= 3600
