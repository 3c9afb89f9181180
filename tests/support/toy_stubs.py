"""The toy service's stubs, compiled into a folder of the caller's choice."""

import sys
from importlib import import_module, resources
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from grpc_tools import protoc

HERE = Path(__file__).resolve().parent


class Stubs(NamedTuple):
    pb: ModuleType
    rpc: ModuleType


def compile_stubs(folder: Path) -> None:
    """Leave the stubs and `toy.binpb` (a descriptor set with google.rpc's error details) in `folder`."""
    site = Path(str(resources.files("google.api"))).parent.parent
    code = protoc.main(
        [
            "protoc",
            f"-I{HERE}",
            f"-I{site}",
            f"-I{resources.files('grpc_tools') / '_proto'}",
            f"--python_out={folder}",
            f"--grpc_python_out={folder}",
            "--include_imports",
            f"--descriptor_set_out={folder / 'toy.binpb'}",
            "toy_service.proto",
            "google/rpc/error_details.proto",
            "google/rpc/status.proto",
        ]
    )
    if code:
        raise RuntimeError(f"protoc failed with exit code {code}")


def load_stubs(folder: Path) -> Stubs:
    """The stubs that `compile_stubs` left in `folder`."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return Stubs(import_module("toy_service_pb2"), import_module("toy_service_pb2_grpc"))
