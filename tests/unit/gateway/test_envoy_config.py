import subprocess
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
import yaml

from zoo_gateway.endpoints import EndpointsFile
from zoo_gateway.envoy_config import EnvoySettings, envoy_config
from zoo_gateway.routes import Routes, Upstream, descriptors_path, load_descriptors

SETTINGS = EnvoySettings(
    listen="0.0.0.0:8080",
    admin="127.0.0.1:9901",
    gateway="127.0.0.1:1",
    catalog="catalog.zoo.svc:2",
    artifact="artifact.zoo.svc:3",
    training="training.zoo.svc:4",
    endpoints_dir=Path("/run/endpoints"),
    descriptors=Path("/descriptors.binpb"),
)


def rendered(settings: EnvoySettings = SETTINGS) -> dict:
    return yaml.safe_load(envoy_config(settings, load_descriptors()))


def manager() -> dict:
    return rendered()["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]


def test_envoy_takes_the_configuration(tmp_path):
    EndpointsFile(tmp_path).write(())
    config = tmp_path / "envoy.yaml"
    settings = replace(SETTINGS, endpoints_dir=tmp_path, descriptors=descriptors_path())
    config.write_text(envoy_config(settings, load_descriptors()))
    binary = resources.files("envoy") / "_bin" / "envoy"
    command = [str(binary), "--mode", "validate", "-c", str(config), "--log-level", "warning"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower()


def test_every_method_goes_to_the_cluster_that_the_picker_means():
    cluster_of = {upstream: upstream.value for upstream in Upstream if upstream is not Upstream.INFERENCE}
    routes = manager()["route_config"]["virtual_hosts"][0]["routes"]
    by_prefix = [(r["match"]["prefix"], r["route"]["cluster"]) for r in routes if "prefix" in r["match"]]
    table = Routes(load_descriptors())
    for path in table.paths():
        first = next(cluster for prefix, cluster in by_prefix if path.startswith(prefix))
        assert first == cluster_of.get(table.route(path).upstream, "workers"), path


def test_what_trainers_call_is_carried_nowhere():
    routes = manager()["route_config"]["virtual_hosts"][0]["routes"]
    path = "/zoo.training.v1.TrainerService/LeaseJob"
    matching = [route for route in routes if path.startswith(route["match"].get("prefix", "-"))]
    # The last resort, where the picker refuses whatever has no route.
    assert [route["match"]["prefix"] for route in matching] == ["/"]
    assert "TrainerService" not in str(rendered())


def test_only_descriptions_and_health_pass_without_the_picker():
    routes = manager()["route_config"]["virtual_hosts"][0]["routes"]
    open_to_all = [
        route["match"]["prefix"]
        for route in routes
        if route.get("typed_per_filter_config", {}).get("picker", {}).get("disabled")
    ]
    assert open_to_all == ["/grpc.reflection.", "/grpc.health.v1.Health/", "/zoo.description."]


def test_callers_headers_that_only_the_gateway_may_set_are_removed_first():
    mutations = manager()["early_header_mutation_extensions"][0]["typed_config"]["mutations"]
    removed = {mutation["remove"] for mutation in mutations}
    assert {"zoo-principal", "x-gateway-destination-endpoint", "x-envoy-original-path"} <= removed


def test_callers_keys_stay_out_of_upstreams_and_logs():
    assert manager()["route_config"]["virtual_hosts"][0]["request_headers_to_remove"] == ["authorization"]
    assert "AUTHORIZATION" not in str(manager()["access_log"]).upper()


@pytest.mark.parametrize("field", ["listen", "catalog"])
def test_address_without_a_port_is_refused(field):
    with pytest.raises(ValueError):
        rendered(replace(SETTINGS, **{field: "nowhere"}))
