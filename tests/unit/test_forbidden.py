"""What our source may not contain, whoever writes it: loading foreign objects, running text, joining paths by hand."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = sorted(
    path for folder in ("client", "store", "services", "gateway") for path in (ROOT / folder).rglob("*.py")
)

# They make objects of bytes, and run what the bytes say.
MODULES = {"pickle", "_pickle", "marshal", "dill", "shelve", "joblib", "cloudpickle", "jsonpickle"}
# A child without keys and network that reads foreign checkpoints (docs/security.md); it needs the name of an error.
READS_PICKLES = "client/modelzoo/convert/unpickle.py"
# Dotted names of what may not be called, and where it may: each with the reason beside it.
CALLS = {
    "eval": set[str](),
    "exec": set[str](),
    "compile": set[str](),
    "__import__": set[str](),
    "os.system": set[str](),
    "os.popen": set[str](),
    # With the base loader, which makes nothing but text, lists and mappings.
    "yaml.load": {"services/zoo_catalog/card.py", "services/zoo_trainer/licence.py"},
    "yaml.unsafe_load": set[str](),
    "torch.load": {READS_PICKLES},
    "torch.jit.load": set[str](),
    "torch.export.load": set[str](),
    "torch.hub.load": set[str](),
    # For a sentence that is shown to people.
    "os.path.join": {"client/modelzoo/command/run/inputs.py"},
    "posixpath.join": set[str](),
}
# Uploads in parts: an id that is aborted after its last call has come through takes the object with it in some stores.
PARTS = ("multipart", "upload_part", "upload_file")
# Services whose requests name files: they have no files but their own, which their main composes.
FILELESS = ("services/zoo_artifact/", "services/zoo_catalog/")
OPENING = {"open", "io.open", "os.open", "os.listdir", "os.scandir", "Path", "pathlib.Path", "shutil.copyfile"}
# Arguments that may not be true.
SWITCHES = {"allow_pickle", "trust_remote_code", "shell"}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def faults(name: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for module in modules:
                if module.partition(".")[0] in MODULES and name != READS_PICKLES:
                    yield f"{name}:{node.lineno} imports {module}"
        elif isinstance(node, ast.Call):
            called = dotted(node.func)
            if any(part in called for part in PARTS):
                yield f"{name}:{node.lineno} uploads in parts"
            if name.startswith(FILELESS) and not name.endswith("/main.py") and called in OPENING:
                yield f"{name}:{node.lineno} opens a file"
            if name not in CALLS.get(called, {name}):
                yield f"{name}:{node.lineno} calls {called}"
            for keyword in node.keywords:
                is_off = isinstance(keyword.value, ast.Constant) and not keyword.value.value
                if keyword.arg in SWITCHES and not is_off:
                    yield f"{name}:{node.lineno} sets {keyword.arg}"
                if keyword.arg == "weights_only" and is_off:
                    yield f"{name}:{node.lineno} loads without weights_only"


def test_our_source_loads_no_objects_runs_no_text_and_joins_no_paths_by_hand() -> None:
    found = [fault for path in SOURCES for fault in faults(str(path.relative_to(ROOT)), ast.parse(path.read_text()))]
    assert len(SOURCES) > 200
    assert found == []


def test_torch_loads_with_weights_only_wherever_it_loads() -> None:
    tree = ast.parse((ROOT / READS_PICKLES).read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and dotted(node.func) == "torch.load"]
    assert calls
    for call in calls:
        [given] = [keyword.value for keyword in call.keywords if keyword.arg == "weights_only"]
        assert isinstance(given, ast.Constant)
        assert given.value is True


@pytest.mark.parametrize("text", ["open(request.path)", "Path(root) / request.path", "os.scandir(folder)"])
def test_a_service_whose_requests_name_files_opens_none(text: str) -> None:
    assert list(faults("services/zoo_artifact/new.py", ast.parse(text)))
    assert list(faults("client/modelzoo/new.py", ast.parse(text))) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "import os\nos.path.join(a, b)",
        "eval(text)",
        "client.create_multipart_upload(Bucket=bucket)",
        "numpy.load(file, allow_pickle=True)",
        "AutoModel.from_pretrained(path, trust_remote_code=wanted)",
    ],
)
def test_the_gate_sees_what_it_is_for(text: str) -> None:
    assert list(faults("client/modelzoo/new.py", ast.parse(text)))
