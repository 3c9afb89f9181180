"""What the process does not load; that it serves and outlives a kill is seen on a whole cluster."""

import importlib.util
import subprocess
import sys


def test_the_training_service_loads_no_torch_and_no_object_store() -> None:
    assert importlib.util.find_spec("torch")
    check = "import sys, zoo_training.main; print([m for m in ('torch', 'transformers', 'boto3') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
