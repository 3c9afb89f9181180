"""Every method of every service, called through the gateway without a key, with too weak a key, with a foreign one.

The table of examples must be complete: a method that nobody thought of fails here before anything else.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory

from modelzoo.errors import ZooError, from_rpc_error
from support.cluster import Cluster
from zoo.artifact.v1 import artifact_service_pb2 as artifact
from zoo.artifact.v1 import upkeep_service_pb2 as upkeep
from zoo.catalog.v1 import access_request_pb2
from zoo.catalog.v1 import access_service_pb2 as access
from zoo.catalog.v1 import catalog_service_pb2 as catalog
from zoo.catalog.v1 import change_service_pb2 as change
from zoo.catalog.v1 import edge_pb2 as edge
from zoo.catalog.v1 import lineage_service_pb2 as lineage
from zoo.catalog.v1 import model_pb2 as model
from zoo.catalog.v1 import signature_service_pb2 as signature
from zoo.description.v1 import description_service_pb2 as description
from zoo.iam.v1 import iam_service_pb2 as iam
from zoo.iam.v1 import key_pb2 as key
from zoo.inference.v1 import generation_pb2 as generation
from zoo.inference.v1 import inference_service_pb2 as inference
from zoo.inference.v1 import worker_service_pb2 as worker
from zoo.training.v1 import job_pb2 as job
from zoo.training.v1 import sweep_pb2 as sweep
from zoo.training.v1 import trainer_service_pb2 as trainer
from zoo.training.v1 import training_service_pb2 as training
from zoo_gateway.routes import load_descriptors

SERVICES = (
    "zoo.artifact.v1.ArtifactService",
    "zoo.artifact.v1.UpkeepService",
    "zoo.catalog.v1.AccessService",
    "zoo.catalog.v1.CatalogService",
    "zoo.catalog.v1.ChangeService",
    "zoo.catalog.v1.LineageService",
    "zoo.catalog.v1.SignatureService",
    "zoo.description.v1.DescriptionService",
    "zoo.iam.v1.IamService",
    "zoo.inference.v1.InferenceService",
    "zoo.inference.v1.WorkerService",
    "zoo.training.v1.TrainingService",
)
# Of which callers know nothing: trainers call it past the gateway.
UNSERVED = "zoo.training.v1.TrainerService"
DIGEST = "0" * 64
TIMEOUT_S = 20


class Answer(Enum):
    """What a caller gets."""

    DENIED = "PERMISSION_DENIED ROLE_MISSING"
    HIDDEN = "NOT_FOUND, as if it did not exist"
    REFUSED = "one or the other: what a stranger may not write, it may not know of either"
    PASSES = "whatever the method itself says"


@dataclass(frozen=True)
class Example:
    """A request about namespace `zoo`; what its viewer and a stranger to it get."""

    request: Any
    viewer: Answer
    stranger: Answer


def reads(request: Any) -> Example:
    return Example(request, Answer.PASSES, Answer.HIDDEN)


def writes(request: Any) -> Example:
    return Example(request, Answer.DENIED, Answer.REFUSED)


def runs(request: Any) -> Example:
    return Example(request, Answer.DENIED, Answer.HIDDEN)


def shows_what_is_visible(request: Any) -> Example:
    return Example(request, Answer.PASSES, Answer.PASSES)


SPEC = job.JobSpec(base="zoo/none", dataset="zoo/none", output="zoo/not-to-be")
CHOICES = {"epochs": sweep.Choices(minimum=1, maximum=2)}
INPUT = generation.GenerationInput(prompt="hello")
EXAMPLES = {
    "ArtifactService/FindMissingBlobs": writes(artifact.FindMissingBlobsRequest(namespace="zoo")),
    "ArtifactService/WriteBlobs": writes(artifact.WriteBlobsRequest(header=artifact.WriteBlobsHeader(namespace="zoo"))),
    "ArtifactService/SignWrites": writes(artifact.SignWritesRequest(namespace="zoo")),
    "ArtifactService/CommitBlobs": writes(artifact.CommitBlobsRequest(namespace="zoo")),
    "ArtifactService/SignReads": reads(artifact.SignReadsRequest(namespace="zoo", manifest_digest=DIGEST)),
    "ArtifactService/PutManifest": writes(artifact.PutManifestRequest(namespace="zoo", manifest=b"{}")),
    "ArtifactService/GetManifest": reads(artifact.GetManifestRequest(namespace="zoo", manifest_digest=DIGEST)),
    "ArtifactService/ReadFile": reads(artifact.ReadFileRequest(namespace="zoo", manifest_digest=DIGEST, path="a")),
    "ArtifactService/Pin": writes(artifact.PinRequest(namespace="zoo", manifest_digest=DIGEST, holder="h")),
    "ArtifactService/Unpin": writes(artifact.UnpinRequest(namespace="zoo", manifest_digest=DIGEST, holder="h")),
    "AccessService/RequestAccess": reads(access.RequestAccessRequest(model="zoo/none")),
    "AccessService/ListAccessRequests": shows_what_is_visible(access.ListAccessRequestsRequest()),
    "AccessService/DecideAccess": writes(
        access.DecideAccessRequest(
            model="zoo/none", subject="nobody", decision=access_request_pb2.ACCESS_STATE_APPROVED
        )
    ),
    "AccessService/CheckAccess": writes(access.CheckAccessRequest(model="zoo/none", subject="nobody")),
    "ArtifactService/QuarantineManifest": writes(
        artifact.QuarantineManifestRequest(namespace="zoo", manifest_digest=DIGEST, reason="r")
    ),
    "ArtifactService/ReleaseManifest": writes(artifact.ReleaseManifestRequest(namespace="zoo", manifest_digest=DIGEST)),
    "ArtifactService/SetNamespacePolicy": writes(
        artifact.SetNamespacePolicyRequest(namespace="zoo", policy=artifact.NamespacePolicy())
    ),
    "ArtifactService/GetNamespacePolicy": writes(artifact.GetNamespacePolicyRequest(namespace="zoo")),
    "CatalogService/CreateNamespace": writes(
        catalog.CreateNamespaceRequest(namespace=model.Namespace(name="not-to-be"))
    ),
    "CatalogService/GetNamespace": reads(catalog.GetNamespaceRequest(name="zoo")),
    "CatalogService/ListNamespaces": shows_what_is_visible(catalog.ListNamespacesRequest()),
    "CatalogService/UpdateNamespace": writes(
        catalog.UpdateNamespaceRequest(namespace=model.Namespace(name="zoo", description="taken"))
    ),
    "CatalogService/DeleteNamespace": writes(catalog.DeleteNamespaceRequest(name="zoo")),
    "CatalogService/CreateModel": writes(catalog.CreateModelRequest(model=model.Model(name="zoo/not-to-be"))),
    "CatalogService/GetModel": reads(catalog.GetModelRequest(name="zoo/none")),
    "CatalogService/ListModels": shows_what_is_visible(catalog.ListModelsRequest()),
    "CatalogService/CountModels": shows_what_is_visible(catalog.CountModelsRequest()),
    "CatalogService/UpdateModel": writes(
        catalog.UpdateModelRequest(model=model.Model(name="zoo/none", description="taken"))
    ),
    "CatalogService/DeleteModel": writes(catalog.DeleteModelRequest(name="zoo/none")),
    "CatalogService/UndeleteModel": writes(catalog.UndeleteModelRequest(name="zoo/none")),
    "CatalogService/CreateVersion": writes(catalog.CreateVersionRequest(model="zoo/none", manifest_digest=DIGEST)),
    "CatalogService/GetVersion": reads(catalog.GetVersionRequest(reference="zoo/none@1")),
    "CatalogService/ListVersions": reads(catalog.ListVersionsRequest(model="zoo/none")),
    "CatalogService/UpdateVersion": writes(
        catalog.UpdateVersionRequest(version=model.Version(model="zoo/none", version=1, state_reason="taken"))
    ),
    "CatalogService/DeleteVersion": writes(catalog.DeleteVersionRequest(model="zoo/none", version=1)),
    "CatalogService/UndeleteVersion": writes(catalog.UndeleteVersionRequest(model="zoo/none", version=1)),
    "CatalogService/PurgeVersion": writes(catalog.PurgeVersionRequest(model="zoo/none", version=1)),
    "CatalogService/SetMetrics": writes(
        catalog.SetMetricsRequest(reference="zoo/none@1", dataset="glue", values={"accuracy": 1.0})
    ),
    "CatalogService/QuarantineVersion": writes(catalog.QuarantineVersionRequest(reference="zoo/none@1", reason="r")),
    "CatalogService/ReleaseVersion": writes(catalog.ReleaseVersionRequest(reference="zoo/none@1")),
    "CatalogService/SetAlias": writes(
        catalog.SetAliasRequest(alias=model.Alias(model="zoo/none", alias="a", targets=[model.AliasTarget(version=1)]))
    ),
    "CatalogService/GetAlias": reads(catalog.GetAliasRequest(model="zoo/none", alias="a")),
    "CatalogService/ListAliases": reads(catalog.ListAliasesRequest(model="zoo/none")),
    "CatalogService/DeleteAlias": writes(catalog.DeleteAliasRequest(model="zoo/none", alias="a")),
    "ChangeService/WatchChanges": shows_what_is_visible(change.WatchChangesRequest()),
    "ChangeService/ListChanges": shows_what_is_visible(change.ListChangesRequest()),
    "LineageService/CreateEdge": writes(
        lineage.CreateEdgeRequest(edge=edge.Edge(child="zoo/none", parent="zoo/none", kind=edge.EDGE_KIND_DERIVED))
    ),
    "LineageService/DeleteEdge": writes(
        lineage.DeleteEdgeRequest(child="zoo/none", parent="zoo/none", kind=edge.EDGE_KIND_DERIVED)
    ),
    "LineageService/GetLineage": reads(lineage.GetLineageRequest(reference="zoo/none")),
    "DescriptionService/GetOpenApi": shows_what_is_visible(description.GetOpenApiRequest()),
    "IamService/CreateKey": writes(iam.CreateKeyRequest(key=key.Key(subject="nobody"))),
    "IamService/ListKeys": writes(iam.ListKeysRequest()),
    "IamService/RevokeKey": writes(iam.RevokeKeyRequest(name="key_" + "0" * 16)),
    "IamService/CreateGrant": writes(
        iam.CreateGrantRequest(grant=key.Grant(subject="nobody", namespace="zoo", role=key.ROLE_VIEWER))
    ),
    "IamService/ListGrants": writes(iam.ListGrantsRequest(namespace="zoo")),
    "IamService/RevokeGrant": writes(iam.RevokeGrantRequest(namespace="zoo", subject="nobody")),
    "IamService/GetPrincipal": shows_what_is_visible(iam.GetPrincipalRequest()),
    "IamService/WatchAccess": writes(iam.WatchAccessRequest()),
    "InferenceService/Generate": runs(inference.GenerateRequest(model="zoo/none", input=INPUT)),
    "InferenceService/StreamGenerate": runs(inference.StreamGenerateRequest(model="zoo/none", input=INPUT)),
    "InferenceService/Embed": runs(inference.EmbedRequest(model="zoo/none", texts=["hello"])),
    "InferenceService/ClassifyText": runs(inference.ClassifyTextRequest(model="zoo/none", texts=["hello"])),
    "InferenceService/ClassifyImage": runs(inference.ClassifyImageRequest(model="zoo/none", image=b"GIF89a")),
    "InferenceService/DetectObjects": runs(inference.DetectObjectsRequest(model="zoo/none", image=b"GIF89a")),
    "InferenceService/Transcribe": runs(inference.TranscribeRequest(model="zoo/none", audio=b"RIFF")),
    "TrainingService/CreateJob": writes(training.CreateJobRequest(job=job.Job(spec=SPEC))),
    # Of whose namespace a job is, the service alone knows: one that does not exist is nobody's.
    "TrainingService/GetJob": reads(training.GetJobRequest(name="job_none")),
    "TrainingService/ListJobs": shows_what_is_visible(training.ListJobsRequest()),
    "TrainingService/UpdateJob": reads(training.UpdateJobRequest(job=job.Job(name="job_none", priority=1))),
    "TrainingService/CancelJob": reads(training.CancelJobRequest(name="job_none")),
    "TrainingService/PauseJob": reads(training.PauseJobRequest(name="job_none")),
    "TrainingService/ResumeJob": reads(training.ResumeJobRequest(name="job_none")),
    "TrainingService/WatchJob": reads(training.WatchJobRequest(name="job_none")),
    "TrainingService/ListRecipes": shows_what_is_visible(training.ListRecipesRequest()),
    "TrainingService/CreateSweep": writes(
        training.CreateSweepRequest(sweep=sweep.Sweep(spec=SPEC, choices=CHOICES, trials=1))
    ),
    "TrainingService/GetSweep": reads(training.GetSweepRequest(name="sweep_none")),
    "UpkeepService/Sweep": writes(upkeep.SweepRequest(dry_run=True)),
    "UpkeepService/SetSweeping": writes(upkeep.SetSweepingRequest()),
    "UpkeepService/GetSweeping": writes(upkeep.GetSweepingRequest()),
    "UpkeepService/GetUsage": reads(upkeep.GetUsageRequest(namespace="zoo")),
    "UpkeepService/Check": writes(upkeep.CheckRequest(sample=0)),
    "UpkeepService/RebuildIndex": writes(upkeep.RebuildIndexRequest()),
    "UpkeepService/ConfirmPins": writes(upkeep.ConfirmPinsRequest(index_id="none")),
    "SignatureService/AddSignature": writes(
        signature.AddSignatureRequest(reference="zoo/none@1", bundle=b"{}", public_key="k")
    ),
    "SignatureService/ListSignatures": reads(signature.ListSignaturesRequest(reference="zoo/none@1")),
    "SignatureService/SetTrustedSigners": writes(signature.SetTrustedSignersRequest(namespace="zoo")),
    "SignatureService/ListTrustedSigners": reads(signature.ListTrustedSignersRequest(namespace="zoo")),
    "WorkerService/ListWorkers": shows_what_is_visible(worker.ListWorkersRequest()),
}


def methods() -> list[str]:
    pool = descriptor_pool.Default()
    return [f"{name}/{method.name}" for name in SERVICES for method in pool.FindServiceByName(name).methods]


def call(cluster: Cluster, full_name: str, request: Any, secret: str) -> ZooError | None:
    """The error that one call of the method ends in, None if it does not."""
    service, _, method_name = full_name.partition("/")
    method = descriptor_pool.Default().FindServiceByName(service).FindMethodByName(method_name)
    response = message_factory.GetMessageClass(method.output_type)
    metadata = [("authorization", f"Bearer {secret}")] if secret else []
    with grpc.insecure_channel(cluster.address) as channel:
        make = {
            (False, False): channel.unary_unary,
            (False, True): channel.unary_stream,
            (True, True): channel.stream_stream,
        }[(method.client_streaming, method.server_streaming)]
        stub: Any = make(f"/{full_name}", type(request).SerializeToString, response.FromString)
        sent = iter([request]) if method.client_streaming else request
        try:
            answer = stub(sent, timeout=TIMEOUT_S, metadata=metadata)
            if method.server_streaming:
                next(iter(answer), None)
                answer.cancel()
        except grpc.RpcError as error:
            return from_rpc_error(error)
        return None


def example(full_name: str) -> Example:
    return EXAMPLES[full_name.rpartition(".")[2]]


def assert_answer(error: ZooError | None, answer: Answer) -> None:
    if answer is Answer.DENIED:
        assert error is not None
        assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING")
    elif answer is Answer.HIDDEN:
        assert error is not None
        assert error.code is grpc.StatusCode.NOT_FOUND
    elif answer is Answer.REFUSED:
        assert error is not None
        assert error.code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.NOT_FOUND)
    elif error is not None:
        assert error.code not in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
        assert error.reason != ""


def test_every_service_of_the_protos_is_called() -> None:
    assert set(SERVICES) == {
        f"{file.package}.{service.name}" for file in load_descriptors().file for service in file.service
    }


def test_every_method_has_an_example() -> None:
    assert sorted(name.rpartition(".")[2] for name in methods()) == sorted(EXAMPLES)


NEEDS_NO_KEY = ("zoo.description.v1.DescriptionService/GetOpenApi",)


@pytest.mark.parametrize("full_name", [name for name in methods() if name not in NEEDS_NO_KEY])
def test_without_a_key_nothing_else_is_served(cluster: Cluster, full_name: str) -> None:
    error = call(cluster, full_name, example(full_name).request, "")
    assert error is not None
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_MISSING")


@pytest.mark.parametrize("full_name", methods())
def test_a_viewers_key_reads_and_no_more(cluster: Cluster, full_name: str) -> None:
    secret = cluster.key("test:viewer", "zoo", "viewer")
    assert_answer(call(cluster, full_name, example(full_name).request, secret), example(full_name).viewer)


@pytest.mark.parametrize("full_name", methods())
def test_an_admins_key_of_another_namespace_sees_nothing_here(cluster: Cluster, full_name: str) -> None:
    secret = cluster.key("test:stranger", "elsewhere", "admin")
    assert_answer(call(cluster, full_name, example(full_name).request, secret), example(full_name).stranger)


TRAINERS_CALLS = {
    "RegisterTrainer": trainer.RegisterTrainerRequest(trainer="t", resource_class="cpu", recipes=[{"name": "r"}]),
    "LeaseJob": trainer.LeaseJobRequest(trainer="t"),
    "RenewJob": trainer.RenewJobRequest(job="job_none", epoch=1),
    "ReleaseJob": trainer.ReleaseJobRequest(job="job_none", epoch=1, outcome=trainer.OUTCOME_YIELDED),
}


def test_every_call_of_trainers_is_tried() -> None:
    methods_of = descriptor_pool.Default().FindServiceByName(UNSERVED).methods
    assert {method.name for method in methods_of} == set(TRAINERS_CALLS)


@pytest.mark.parametrize("method", TRAINERS_CALLS)
@pytest.mark.parametrize("with_key", [True, False])
def test_what_trainers_call_is_not_there_for_callers(cluster: Cluster, method: str, with_key: bool) -> None:
    error = call(cluster, f"{UNSERVED}/{method}", TRAINERS_CALLS[method], cluster.admin_key if with_key else "")
    assert error is not None
    assert (error.code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")
