import pytest
from google.protobuf import descriptor_pb2

from modelzoo.errors import Unimplemented
from zoo_gateway.routes import Routes, Upstream, load_descriptors

# What trainers say to the training service, past the gateway.
TRAINERS = [f"/zoo.training.v1.TrainerService/{name}" for name in ("RegisterTrainer", "LeaseJob", "RenewJob")]


@pytest.mark.parametrize(
    ("path", "upstream"),
    [
        ("/zoo.catalog.v1.CatalogService/GetModel", Upstream.CATALOG),
        ("/zoo.iam.v1.IamService/CreateKey", Upstream.CATALOG),
        ("/zoo.artifact.v1.ArtifactService/WriteBlobs", Upstream.ARTIFACT),
        ("/zoo.artifact.v1.UpkeepService/Sweep", Upstream.ARTIFACT),
        ("/zoo.training.v1.TrainingService/CreateJob", Upstream.TRAINING),
        ("/zoo.inference.v1.InferenceService/Embed", Upstream.INFERENCE),
        ("/zoo.inference.v1.WorkerService/ListWorkers", Upstream.GATEWAY),
    ],
)
def test_method_goes_to_its_service(path, upstream):
    assert Routes(load_descriptors()).route(path).upstream is upstream


def test_model_is_read_for_inference_alone():
    routes = Routes(load_descriptors())
    assert routes.route("/zoo.inference.v1.InferenceService/Generate?x=1").reads_model
    assert not routes.route("/zoo.artifact.v1.ArtifactService/WriteBlobs").reads_model


@pytest.mark.parametrize(
    "path", ["/", "", "/v1/nothing", "/zoo.catalog.v1.CatalogService/Nothing", "/zoo.catalog.v1.", *TRAINERS]
)
def test_unknown_path_is_unimplemented(path):
    with pytest.raises(Unimplemented) as caught:
        Routes(load_descriptors()).route(path)
    assert caught.value.reason == "METHOD_UNKNOWN"


def test_service_without_an_upstream_is_refused_at_start():
    file = descriptor_pb2.FileDescriptorProto(name="x.proto", package="elsewhere.v1")
    file.service.add(name="Stray")
    with pytest.raises(ValueError, match=r"elsewhere\.v1\.Stray"):
        Routes(descriptor_pb2.FileDescriptorSet(file=[file]))
