"""Pictures by REST: as base64 in JSON, and as a raw body with the model in the path; and the OpenAPI of it all."""

import base64
import io
from typing import Any

import httpx
import numpy
import pytest
from openapi_spec_validator import validate
from PIL import Image

from support.cluster import Cluster
from support.tiny_task_models import tiny_image_classifier

MODEL = "restfiles/pictures"
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def published(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    folder = tiny_image_classifier(tmp_path_factory.mktemp("pictures"))
    with cluster.client() as zoo:
        zoo.create_namespace("restfiles")
        zoo.push(folder, MODEL)
    return cluster


def png(width: int, height: int) -> bytes:
    pixels = numpy.random.default_rng(3).integers(0, 255, (height, width, 3), dtype=numpy.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=0)
    return file.getvalue()


def post(zoo: Cluster, path: str, **body: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {zoo.admin_key}", **body.pop("headers", {})}
    return httpx.post(f"{zoo.url}{path}", headers=headers, timeout=TIMEOUT_S, **body)


def test_json_with_base64_and_a_raw_body_give_the_same(published: Cluster) -> None:
    picture = png(60, 40)
    request = {"model": MODEL, "image": base64.b64encode(picture).decode(), "top_k": 2}
    by_json = post(published, "/v1/images:classify", json=request)
    raw = post(published, f"/v1/models/{MODEL}@1:classifyImage?top_k=2", content=picture)
    assert (by_json.status_code, raw.status_code) == (200, 200), raw.text
    assert len(raw.json()["classification"]["labels"]) == 2
    assert raw.json()["classification"] == by_json.json()["classification"]


def test_a_large_raw_body_passes(published: Cluster) -> None:
    picture = png(4000, 3000)
    assert len(picture) > 35_000_000
    answer = post(
        published, f"/v1/models/{MODEL}:classifyImage", content=picture, headers={"content-type": "image/png"}
    )
    assert answer.status_code == 200, answer.text


def test_a_raw_body_over_the_limit_is_refused(published: Cluster) -> None:
    answer = post(published, f"/v1/models/{MODEL}:classifyImage", content=bytes(65 << 20))
    assert answer.status_code in (413, 429), answer.text
    assert "REQUEST_TOO_LARGE" in answer.text


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        (f"/v1/models/{MODEL}@9:classifyImage", 404, "VERSION_NOT_FOUND"),
        ("/v1/models/restfiles/none:classifyImage", 404, "MODEL_NOT_FOUND"),
        (f"/v1/models/{MODEL}:transcribe", 400, "TASK_MISMATCH"),
        (f"/v1/models/{MODEL}:classifyImage?topk=2", 400, "FIELD_INVALID"),
        ("/v1/models/not%20a%20name:classifyImage", 400, "REFERENCE_INVALID"),
    ],
)
def test_a_raw_call_that_cannot_be_served_says_why(published: Cluster, path: str, status: int, reason: str) -> None:
    answer = post(published, path, content=png(8, 8))
    assert (answer.status_code, reason in answer.text) == (status, True), answer.text


def test_a_raw_call_without_a_key_is_refused(published: Cluster) -> None:
    answer = httpx.post(f"{published.url}/v1/models/{MODEL}:classifyImage", content=png(8, 8), timeout=TIMEOUT_S)
    assert (answer.status_code, "CREDENTIAL_MISSING" in answer.text) == (401, True)


def test_openapi_is_served_to_everyone_and_is_valid(cluster: Cluster) -> None:
    answer = httpx.get(f"{cluster.url}/openapi.json", timeout=TIMEOUT_S)
    assert answer.headers["content-type"] == "application/json"
    validate(answer.json())
    assert "/v1/models/{model}:classifyImage" in answer.json()["paths"]
