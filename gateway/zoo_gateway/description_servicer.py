"""DescriptionService: what is served here, in the words of the protos."""

import json
from typing import Any

import grpc
from google.api import httpbody_pb2
from google.protobuf import descriptor_pb2

from zoo.description.v1 import description_service_pb2 as pb
from zoo.description.v1 import description_service_pb2_grpc as rpc
from zoo_gateway.openapi import openapi_document
from zoo_server.authorization import Open, Rules

__all__ = ["RULES", "SERVICE", "DescriptionServicer"]

SERVICE = "zoo.description.v1.DescriptionService"
# It says no more than the public protos do.
RULES: Rules = {f"/{SERVICE}/GetOpenApi": Open.TO_ALL}

Context = grpc.aio.ServicerContext[Any, Any]


class DescriptionServicer(rpc.DescriptionServiceServicer):
    def __init__(self, descriptors: descriptor_pb2.FileDescriptorSet, version: str) -> None:
        document = json.dumps(openapi_document(descriptors, version)).encode()
        self._openapi = httpbody_pb2.HttpBody(content_type="application/json", data=document)

    async def GetOpenApi(self, request: pb.GetOpenApiRequest, context: Context) -> httpbody_pb2.HttpBody:
        return self._openapi
