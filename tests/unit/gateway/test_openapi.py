"""The OpenAPI document is valid, and says of every REST binding what Envoy does with it."""

import json
from typing import Any

import pytest
from openapi_spec_validator import validate

from zoo_gateway.openapi import openapi_document
from zoo_gateway.routes import load_descriptors


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_document(load_descriptors(), "1.2.3")


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)
    assert document["info"]["version"] == "1.2.3"


def test_every_operation_says_what_it_does(document: dict[str, Any]) -> None:
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len(operations) > 30
    assert all(operation["summary"] for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)


def test_a_file_is_posted_raw_with_plain_fields_in_the_query(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/models/{model}:classifyImage"]["post"]
    assert "application/octet-stream" in operation["requestBody"]["content"]
    assert [(p["name"], p["in"]) for p in operation["parameters"]] == [("model", "path"), ("top_k", "query")]


def test_limits_of_the_protos_stand_in_the_schemas(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["zoo.inference.v1.DetectObjectsRequest"]
    assert schema["required"] == ["model"]
    assert (schema["properties"]["threshold"]["minimum"], schema["properties"]["threshold"]["maximum"]) == (0, 1)


def test_a_resource_name_of_two_parts_is_two_parameters(document: dict[str, Any]) -> None:
    verbs = document["paths"]["/v1/models/{namespace}/{name}/aliases/{alias}"]
    assert sorted(verbs) == ["delete", "get", "put"]
    for operation in verbs.values():
        assert [p["name"] for p in operation["parameters"] if p["in"] == "path"] == ["namespace", "name", "alias"]


def test_a_streamed_answer_is_an_array(document: dict[str, Any]) -> None:
    content = document["paths"]["/v1/generate:stream"]["post"]["responses"]["200"]["content"]
    assert content["application/json"]["schema"]["type"] == "array"


def test_jobs_are_reached_by_rest_and_what_trainers_call_is_not(document: dict[str, Any]) -> None:
    assert document["paths"]["/v1/jobs/{name}:cancel"]["post"]["operationId"] == "TrainingService_CancelJob"
    assert "TrainerService" not in json.dumps(document)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    names = {part.split('"')[0] for part in json.dumps(document).split("#/components/schemas/")[1:]}
    assert names == set(document["components"]["schemas"])
