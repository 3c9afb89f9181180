"""A process of its own for foreign files: without keys, without the network's configuration, killed when it hangs.

    answer = run_child("modelzoo.convert.unpickle", "weights.pth", "weights.safetensors")   # in the parent
    answer_parent(lambda: work(...))                                                        # at the end of that module

The answer travels as JSON; a ZooError travels with its class, reason, message and metadata. Anything else that ends the
child is CHECKPOINT_UNSUPPORTED, as what it was reading broke it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, cast

from google.protobuf import json_format
from google.rpc import status_pb2

from modelzoo.convert.confinement import FORBIDDEN_STATUS
from modelzoo.errors import InvalidArgument, ZooError, from_status, to_status

__all__ = ["answer_parent", "run_child"]

TIMEOUT_S = 1800.0
WHY_MAX = 400
# No credentials among them.
KEPT_ENVIRONMENT = (
    *("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "HOME", "LANG", "TMPDIR", "XDG_CACHE_HOME", "HF_HOME"),
    *("OMP_NUM_THREADS", "CI"),
)
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def run_child(module: str, *arguments: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """What `python -m module arguments` answers. Raises the ZooError that it sent.

    PICKLE_REFUSED if it ended itself as confinement.py says; CHECKPOINT_UNSUPPORTED if it died otherwise.
    """
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    try:
        done = subprocess.run(
            # -P: nothing is imported from the current directory.
            [sys.executable, "-P", "-m", module, *arguments],
            env=kept | OFFLINE,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _broke_off(f"it took more than {timeout_s:.0f} s") from error
    if done.returncode == FORBIDDEN_STATUS:
        message = "The file was not loaded: reading it tried to run a program, use the network or write a file."
        raise InvalidArgument("PICKLE_REFUSED", message)
    # Libraries may print before it.
    answer = _parsed(done.stdout.rpartition(b"\n")[2])
    if answer is None:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise _broke_off(said[-1][:WHY_MAX] if said else f"it ended with status {done.returncode}")
    if "error" in answer:
        raise from_status(json_format.ParseDict(answer["error"], status_pb2.Status()))
    return cast(dict[str, Any], answer["answer"])


def answer_parent(work: Callable[[], Mapping[str, Any]]) -> None:
    """Do the work and print its answer, or the ZooError that it raised, as the last line."""
    try:
        answer: dict[str, Any] = {"answer": dict(work())}
    except ZooError as error:
        answer = {"error": json_format.MessageToDict(to_status(error))}
    sys.stdout.write("\n" + json.dumps(answer))
    sys.stdout.flush()


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(line)
    except ValueError:
        return None
    return cast(dict[str, Any], answer) if isinstance(answer, dict) else None


def _broke_off(why: str) -> InvalidArgument:
    message = f"The file cannot be converted: the process that read it broke off, {why}."
    return InvalidArgument("CHECKPOINT_UNSUPPORTED", message)
