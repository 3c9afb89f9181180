"""Reflection of everything that is served behind the gateway's port, from the descriptor set that the build leaves.

In both versions of the protocol, which differ in their name only: older tools ask grpc.reflection.v1alpha.
"""

from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from zoo_server.authorization import Open, Rules

__all__ = ["RULES", "register_reflection"]

# Packages without types.
health_messages: Any = health_pb2
implementation: Any = reflection
messages: Any = reflection_pb2

_SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
RULES: Rules = {f"/{name}/ServerReflectionInfo": Open.TO_ALL for name in _SERVICES}


def register_reflection(server: grpc.aio.Server, descriptors: descriptor_pb2.FileDescriptorSet) -> None:
    """Serve reflection of every service of `descriptors`, and health. Of several registrations the first one serves."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptors.file:
        pool.Add(file)  # pyright: ignore[reportUnknownMemberType]
    health = descriptor_pb2.FileDescriptorProto()
    health_messages.DESCRIPTOR.CopyToProto(health)
    pool.Add(health)  # pyright: ignore[reportUnknownMemberType]
    names = [f"{file.package}.{service.name}" for file in (*descriptors.file, health) for service in file.service]
    servicer: Any = implementation.aio.ReflectionServicer(names, pool=pool)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=messages.ServerReflectionRequest.FromString,
        response_serializer=messages.ServerReflectionResponse.SerializeToString,
    )
    for name in _SERVICES:
        generic = grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler})
        server.add_generic_rpc_handlers((generic,))
