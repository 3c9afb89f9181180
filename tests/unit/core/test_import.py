"""Importing the client is cheap: it is what every script and every `zoo` command pays first."""

import json
import subprocess
import sys

import pytest

HEAVY = ["torch", "transformers", "safetensors", "numpy", "boto3", "botocore", "sqlalchemy", "redis", "huggingface_hub"]
LIMIT_S = 0.5  # of the processor, so that other processes do not count

PROBE = """
import json, sys, time
start = time.process_time()
import modelzoo{rest}
seconds = time.process_time() - start
print(json.dumps([seconds, [name for name in {heavy} if name in sys.modules]]))
"""


def imported(rest: str = "") -> tuple[float, list[str]]:
    probe = PROBE.format(rest=rest, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    seconds, heavy = json.loads(done.stdout)
    return seconds, heavy


def test_importing_modelzoo_is_fast_and_loads_nothing_heavy():
    attempts = [imported() for _ in range(3)]
    assert [heavy for _, heavy in attempts] == [[], [], []]
    assert min(seconds for seconds, _ in attempts) < LIMIT_S


@pytest.mark.parametrize(
    "module",
    [
        "reference",
        "manifest",
        "paths",
        "safetensors_header",
        "cut",
        "sniff",
        "cache",
        "channel",
        "config",
        "errors",
        "command.import_sources",
    ],
)
def test_no_module_of_the_core_loads_anything_heavy(module: str):
    assert imported(f".{module}")[1] == []
