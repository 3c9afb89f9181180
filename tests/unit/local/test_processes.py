"""The plan of a cluster, and the files that go with it."""

from dataclasses import replace
from pathlib import Path

import pytest

from modelzoo.errors import Unauthenticated
from zoo_local.configuration import write_configuration
from zoo_local.errors import DataUnusable
from zoo_local.layout import Layout, prepare
from zoo_local.processes import Plan, plan_processes, port_names
from zoo_server.credentials import make_credentials
from zoo_server.principal import Principal, Role, Signer, Verifier

PROXIES = {"HTTP_PROXY": "http://proxy", "https_proxy": "http://proxy", "AWS_SECRET_ACCESS_KEY": "the shell's"}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    layout = Layout(tmp_path)
    prepare(layout)
    ports = {name: 10_000 + number for number, name in enumerate(port_names(2))}
    inherited = {"PATH": "/bin", **PROXIES}
    return Plan(layout, make_credentials(layout.secrets), ports, 2, 1000, 1, inherited)


def test_every_process_comes_after_what_it_needs(plan: Plan) -> None:
    names: list[str] = []
    for process in plan_processes(plan):
        assert set(process.needs) <= set(names)
        assert set(process.awaits) <= set(process.needs)
        names.append(process.name)
    assert names == [
        "seaweedfs",
        "redis",
        "artifact",
        "catalog",
        "training",
        "trainer",
        "worker",
        "worker-2",
        "gateway",
        "envoy",
    ]


def test_no_process_listens_where_another_does(plan: Plan) -> None:
    ports = [process.port for process in plan_processes(plan)]
    assert len(set(ports)) == len(ports)


def test_processes_see_nothing_of_the_shell_but_what_they_need(plan: Plan) -> None:
    for process in plan_processes(plan):
        assert process.env["PATH"] == "/bin"
        assert not {"HTTP_PROXY", "https_proxy"} & set(process.env)
        assert process.env.get("AWS_SECRET_ACCESS_KEY") != "the shell's"


def test_no_secret_is_in_a_command_line_or_a_repr(plan: Plan) -> None:
    secrets = [path.read_text() for path in plan.layout.secrets.iterdir() if not path.suffix]
    shown = "\n".join([*(repr(process) for process in plan_processes(plan)), repr(plan)])
    assert len(secrets) == 4
    assert not [secret for secret in secrets if secret in shown]


def test_configuration_is_written_where_its_server_looks_for_it(plan: Plan) -> None:
    write_configuration(plan)
    by_name = {process.name: process for process in plan_processes(plan)}
    assert str(plan.layout.redis_config) in by_name["redis"].argv
    assert f"requirepass {plan.credentials.redis_password}" in plan.layout.redis_config.read_text()
    assert plan.layout.redis_config.stat().st_mode & 0o777 == 0o600
    assert str(plan.layout.envoy_config) in by_name["envoy"].argv
    assert f"port_value: {plan.ports['envoy.admin']}" in plan.layout.envoy_config.read_text()


def test_credentials_are_made_once_and_belong_to_their_owner_alone(tmp_path: Path) -> None:
    first = make_credentials(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert make_credentials(tmp_path) == first
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    secret = [path for path in before if path != first.trust]
    assert {path.stat().st_mode & 0o777 for path in secret} == {0o600}


def test_a_service_can_only_speak_for_itself(tmp_path: Path) -> None:
    credentials = make_credentials(tmp_path)
    verifier = Verifier.load(credentials.trust)
    asserted = Principal("admin", {"*": Role.ADMIN})
    by_worker = Signer.load(credentials.identities["worker"]).sign(asserted)
    assert verifier.verify(by_worker) == Principal("service:worker", {"*": Role.VIEWER})
    by_gateway = Signer.load(credentials.identities["gateway"]).sign(asserted)
    assert verifier.verify(by_gateway) == asserted


def test_the_training_service_speaks_for_its_jobs_and_for_nobody_else(tmp_path: Path) -> None:
    credentials = make_credentials(tmp_path)
    verifier = Verifier.load(credentials.trust)
    training = Signer.load(credentials.identities["training"])
    job = Principal("job:job_1", {"team": Role.PUBLISHER})
    assert verifier.verify(training.own_token()) == Principal("service:training", {"*": Role.TRAINER})
    assert verifier.verify(training.sign(job)) == job
    with pytest.raises(Unauthenticated):
        verifier.verify(training.sign(Principal("service:trainer", {})))
    # A trainer's key is its own alone: it cannot give itself a job's principal.
    by_trainer = Signer.load(credentials.identities["trainer"]).sign(job)
    assert verifier.verify(by_trainer) == Principal("service:trainer", {})


@pytest.mark.parametrize("name", ["a,b", "a?b", 'a"b', "a\nb"])
def test_a_data_folder_that_a_server_would_misread_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataUnusable, match="cannot contain"):
        prepare(Layout(tmp_path / name))


def test_a_data_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataUnusable, match="--data"):
        prepare(Layout(tmp_path / "file" / "data"))


def test_workers_beyond_the_first_have_ports_of_their_own(plan: Plan) -> None:
    one = plan_processes(replace(plan, workers=1))
    assert [p.name for p in one if p.name.startswith("worker")] == ["worker"]
    listens = {p.name: p.env["ZOO_LISTEN"] for p in plan_processes(plan) if p.name.startswith("worker")}
    assert listens["worker"] != listens["worker-2"]
