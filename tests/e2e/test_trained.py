"""A job that the cluster's own trainer trains: from the gateway to a version that answers better than a guess."""

import json
from pathlib import Path

import grpc

from support.cluster import Cluster
from support.tiny_models import tiny_sentence_encoder
from zoo.training.v1 import job_pb2
from zoo.training.v1 import training_service_pb2 as pb
from zoo.training.v1 import training_service_pb2_grpc as rpc

NAMESPACE = "e2e-trained"
TRAINED_S = 240
STEPS = 40


def rows(first: int, last: int) -> bytes:
    """Of two classes, told apart by their first word."""
    texts = ({"text": f"{('good', 'bad')[n % 2]} film {n}", "label": ("pos", "neg")[n % 2]} for n in range(first, last))
    return b"".join(json.dumps(row).encode() + b"\n" for row in texts)


def test_a_text_classifier_is_trained_and_published(cluster: Cluster, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.jsonl").write_bytes(rows(0, 64))
    (data / "test.jsonl").write_bytes(rows(64, 96))
    with cluster.client() as client:
        client.push(tiny_sentence_encoder(tmp_path / "base"), f"{NAMESPACE}/encoder", create_namespace=True)
        client.push(data, f"{NAMESPACE}/films", format="dataset")
    spec = job_pb2.JobSpec(
        base=f"{NAMESPACE}/encoder",
        dataset=f"{NAMESPACE}/films",
        output=f"{NAMESPACE}/critic",
        budget=job_pb2.Budget(steps=STEPS),
        promotion=job_pb2.Promotion(alias="prod"),
    )
    spec.parameters.update({"learning_rate": 5e-3})
    metadata = (("authorization", f"Bearer {cluster.admin_key}"),)
    with grpc.insecure_channel(cluster.address) as channel:
        stub = rpc.TrainingServiceStub(channel)
        request = pb.CreateJobRequest(job=job_pb2.Job(spec=spec))
        job = stub.CreateJob(request, metadata=metadata, timeout=30).job
        assert job.spec.recipe == "text-classification"
        watch = pb.WatchJobRequest(name=job.name, follow=True)
        events = [answer.event for answer in stub.WatchJob(watch, metadata=metadata, timeout=TRAINED_S)]
        done = stub.GetJob(pb.GetJobRequest(name=job.name), metadata=metadata, timeout=30).job
    assert done.state == job_pb2.JOB_STATE_SUCCEEDED, (done.reason, done.message)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert any(event.HasField("metrics") for event in events)
    accuracy = next(measured for measured in done.measured if measured.metric == "accuracy")
    assert accuracy.after > 0.8 > 0.6 > accuracy.majority
    with cluster.client() as client:
        assert client.version(f"{NAMESPACE}/critic@prod").reference == done.result
