"""Generate the Python stubs of protos/ into gen/ (git-ignored): messages, gRPC, and types for both.

Runs as a build hook of the wheel and of the editable install, and by hand as `make proto`.
"""

import shutil
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent.parent

# Foreign protos that ours import; kept beside the stubs so that buf finds them too.
IMPORTED = ("google/api/annotations.proto", "google/api/http.proto", "google/api/httpbody.proto")
# Nothing imports these, but whoever turns an error into JSON must find them in the descriptor set.
DETAILS = ("google/rpc/error_details.proto", "google/rpc/status.proto")


def generate(root: Path) -> None:
    """Leave gen/zoo (stubs), gen/include (imported protos) and gen/zoo/descriptors.binpb, or raise."""
    gen = root / "gen"
    include = gen / "include"
    shutil.rmtree(gen, ignore_errors=True)
    include.mkdir(parents=True)
    for name in (*IMPORTED, *DETAILS):
        target = include / name
        target.parent.mkdir(parents=True, exist_ok=True)
        source = resources.files(".".join(Path(name).parent.parts)) / Path(name).name
        target.write_bytes(source.read_bytes())
    well_known = Path(str(resources.files("grpc_tools") / "_proto"))
    protos = sorted(str(p.relative_to(root / "protos")) for p in (root / "protos" / "zoo").rglob("*.proto"))
    (gen / "zoo").mkdir()
    bin_dir = Path(sys.executable).parent
    plugins = [f"--plugin=protoc-gen-{n}={p}" for n in ("mypy", "mypy_grpc") if (p := _plugin(n, bin_dir))]
    paths = [f"-I{root / 'protos'}", f"-I{include}", f"-I{well_known}"]
    _protoc(
        *paths,
        *plugins,
        f"--python_out={gen}",
        f"--grpc_python_out={gen}",
        f"--mypy_out=quiet:{gen}",
        f"--mypy_grpc_out=quiet:{gen}",
        *protos,
    )
    _protoc(
        *paths,
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={gen / 'zoo' / 'descriptors.binpb'}",
        *protos,
        *DETAILS,
    )


def _protoc(*arguments: str) -> None:
    code = protoc.main(["protoc", *arguments])
    if code:
        raise RuntimeError(f"protoc failed with exit code {code}")


def _plugin(name: str, bin_dir: Path) -> str | None:
    return shutil.which(f"protoc-gen-{name}", path=str(bin_dir)) or shutil.which(f"protoc-gen-{name}")


class StubsHook(BuildHookInterface[Any]):
    """Hatch calls this before it builds a wheel or an editable install."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        generate(Path(self.root))


if __name__ == "__main__":
    generate(ROOT)
