"""Jobs on a whole cluster: asked for through the gateway, trained by an agent that calls the service past it."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.duration_pb2 import Duration

from modelzoo.tree import read_tree
from modelzoo.upload import upload
from support.cluster import Cluster
from support.training_zoo import CONFIG, ROWS
from support.waiting import eventually
from zoo.training.v1 import job_pb2
from zoo.training.v1 import trainer_service_pb2 as trainer_pb
from zoo.training.v1 import trainer_service_pb2_grpc as trainer_rpc
from zoo.training.v1 import training_service_pb2 as pb
from zoo.training.v1 import training_service_pb2_grpc as rpc
from zoo_server.peers import open_sync_peer
from zoo_server.principal import Signer
from zoo_trainer.recipes import known_recipes

NAMESPACE = "e2e-jobs"
# Of its own: nothing else of the cluster leases its jobs.
RESOURCE_CLASS = "e2e"
RECIPE = "text-classification"
TIMEOUT_S = 30


@pytest.fixture(scope="module")
def sources(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The cluster, with a base and a dataset."""
    base, data = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("data")
    (base / "config.json").write_bytes(CONFIG)
    (data / "train.jsonl").write_bytes(ROWS)
    with cluster.client() as client:
        client.push(base, f"{NAMESPACE}/bert", create_namespace=True)
        client.push(data, f"{NAMESPACE}/topics", format="dataset")
    return cluster


@pytest.fixture
def agent(sources: Cluster) -> Iterator[trainer_rpc.TrainerServiceStub]:
    """What a trainer's agent sees, registered."""
    signer = Signer.load(sources.layout.secrets / "trainer.json")
    with open_sync_peer(f"127.0.0.1:{sources.ports()['training']}", signer) as channel:
        stub = trainer_rpc.TrainerServiceStub(channel)
        stub.RegisterTrainer(
            trainer_pb.RegisterTrainerRequest(
                trainer="e2e-agent",
                resource_class=RESOURCE_CLASS,
                # As the cluster's own trainer says it: of two that differ, the newer one would stand for all.
                recipes=[known_recipes()[RECIPE].describe()],
                executors=["process"],
            ),
            timeout=TIMEOUT_S,
        )
        yield stub


@pytest.fixture
def jobs(sources: Cluster) -> Iterator[rpc.TrainingServiceStub]:
    """Through the gateway, with the key of a trainer of the namespace."""
    key = sources.key("test:trainer", NAMESPACE, "trainer")
    with grpc.insecure_channel(sources.address) as channel:
        keyed = grpc.intercept_channel(channel, _Keyed(key))
        yield rpc.TrainingServiceStub(keyed)


class _Keyed(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    def __init__(self, key: str) -> None:
        self._metadata = [("authorization", f"Bearer {key}")]

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(client_call_details._replace(metadata=self._metadata), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(client_call_details._replace(metadata=self._metadata), request)


def spec(output: str) -> job_pb2.JobSpec:
    return job_pb2.JobSpec(
        base=f"{NAMESPACE}/bert",
        dataset=f"{NAMESPACE}/topics",
        output=f"{NAMESPACE}/{output}",
        resource_class=RESOURCE_CLASS,
        promotion=job_pb2.Promotion(alias="prod"),
    )


def lease(agent: trainer_rpc.TrainerServiceStub) -> trainer_pb.Lease:
    request = trainer_pb.LeaseJobRequest(trainer="e2e-agent", wait=Duration(seconds=10))
    return agent.LeaseJob(request, timeout=TIMEOUT_S).lease


class _AsJob:
    def __init__(self, principal: str) -> None:
        self._principal = principal

    def own_token(self) -> str:
        return self._principal


def push_as_job(cluster: Cluster, taken: trainer_pb.Lease, folder: Path) -> str:
    """A result, pushed past the gateway with the job's principal; its manifest."""
    folder.mkdir()
    (folder / "config.json").write_bytes(json.dumps({"architectures": ["BertForSequenceClassification"]}).encode())
    address = f"127.0.0.1:{cluster.ports()['artifact']}"
    with open_sync_peer(address, _AsJob(taken.principal)) as channel:  # type: ignore[arg-type]
        return upload(channel, read_tree(folder), NAMESPACE, format="transformers").digest


def release(agent: trainer_rpc.TrainerServiceStub, taken: trainer_pb.Lease, digest: str) -> None:
    measured = job_pb2.Measured(metric="accuracy", before=0.5, after=0.9, split="train", items=64)
    result = trainer_pb.Result(manifest_digest=digest, measured=[measured])
    request = trainer_pb.ReleaseJobRequest(
        job=taken.job.name, epoch=taken.epoch, outcome=trainer_pb.OUTCOME_TRAINED, result=result
    )
    agent.ReleaseJob(request, timeout=TIMEOUT_S)


def test_a_job_goes_from_the_gateway_to_a_version_that_names_it(
    sources: Cluster, jobs: rpc.TrainingServiceStub, agent: trainer_rpc.TrainerServiceStub, tmp_path: Path
) -> None:
    job = jobs.CreateJob(pb.CreateJobRequest(job=job_pb2.Job(spec=spec("whole"))), timeout=TIMEOUT_S).job
    assert job.spec.recipe == RECIPE
    watched = jobs.WatchJob(pb.WatchJobRequest(name=job.name, follow=True), timeout=TIMEOUT_S)
    taken = lease(agent)
    assert taken.job.name == job.name
    release(agent, taken, push_as_job(sources, taken, tmp_path / "made"))
    states = [answer.event.state.state for answer in watched if answer.event.HasField("state")]
    assert states[-1] == job_pb2.JOB_STATE_SUCCEEDED
    with sources.client() as client:
        version = client.version(f"{NAMESPACE}/whole@prod")
        edges = client.lineages.get(f"{NAMESPACE}/whole@1").edges
    assert version.reference == f"{NAMESPACE}/whole@1"
    assert [(edge.job, edge.dataset) for edge in edges] == [(job.name, f"{NAMESPACE}/topics@1")]


async def test_a_job_outlives_the_service_that_took_it(
    sources: Cluster, jobs: rpc.TrainingServiceStub, agent: trainer_rpc.TrainerServiceStub, tmp_path: Path
) -> None:
    request = pb.CreateJobRequest(job=job_pb2.Job(spec=spec("outlives")), request_id="outlives")
    job = jobs.CreateJob(request, timeout=TIMEOUT_S).job
    taken = lease(agent)
    os.kill(sources.pid("training"), signal.SIGKILL)

    async def renewed() -> bool:
        renewal = trainer_pb.RenewJobRequest(job=job.name, epoch=taken.epoch)
        return agent.RenewJob(renewal, timeout=TIMEOUT_S).wanted == job_pb2.WANTED_RUN

    assert await eventually(renewed, within_s=30)
    assert jobs.CreateJob(request, timeout=TIMEOUT_S).job.name == job.name
    release(agent, taken, push_as_job(sources, taken, tmp_path / "made"))

    async def done() -> bool:
        return jobs.GetJob(pb.GetJobRequest(name=job.name), timeout=TIMEOUT_S).job.result != ""

    assert await eventually(done, within_s=30)
    with sources.client() as client:
        assert len(list(client.versions(f"{NAMESPACE}/outlives"))) == 1


def test_jobs_are_reached_by_rest(sources: Cluster, agent: trainer_rpc.TrainerServiceStub) -> None:
    headers = {"authorization": f"Bearer {sources.key('test:trainer', NAMESPACE, 'trainer')}"}
    wanted = {"base": f"{NAMESPACE}/bert", "dataset": f"{NAMESPACE}/topics", "output": f"{NAMESPACE}/rest"}
    body = {"job": {"spec": {**wanted, "resource_class": RESOURCE_CLASS, "parameters": {"epochs": 2}}}}
    with httpx.Client(base_url=sources.url, headers=headers, timeout=TIMEOUT_S) as rest:
        made = rest.post("/v1/jobs", json=body).json()["job"]
        assert made["spec"]["parameters"]["epochs"] == 2
        assert rest.get(f"/v1/jobs/{made['name']}").json()["job"]["state"] == "JOB_STATE_QUEUED"
        cancelled = rest.post(f"/v1/jobs/{made['name']}:cancel", json={}).json()["job"]
        assert cancelled["state"] == "JOB_STATE_CANCELLED"
        events = rest.get(f"/v1/jobs/{made['name']}:watch").json()
        assert [entry["event"]["sequence"] for entry in events] == ["1", "2"]
        refused = rest.post("/v1/jobs", json={"job": {"spec": {**wanted, "recipe": "text-clasification"}}})
        assert (refused.status_code, "did you mean" in refused.json()["message"]) == (400, True)
        assert RECIPE in [recipe["name"] for recipe in rest.get("/v1/recipes").json()["recipes"]]
        assert rest.post("/v1/trainers", json={}).status_code in (404, 501)
