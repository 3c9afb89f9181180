"""Signatures both ways with the reference tool, `model-signing`, in an environment of its own.

python -m venv /tmp/oms && /tmp/oms/bin/pip install model-signing==1.1.1 pyOpenSSL
ZOO_TEST_MODEL_SIGNING=/tmp/oms/bin/model_signing pytest tests/compat/test_model_signing.py
"""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from modelzoo.errors import FailedPrecondition
from modelzoo.signing.bundle import Bundle, sign
from modelzoo.signing.directory import sha256_of_directory
from modelzoo.signing.keys import SigningKey
from support.weights import weights

TOOL = os.environ.get("ZOO_TEST_MODEL_SIGNING", "model_signing")
CURVES = [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()]
TREE = {"model.safetensors": weights(1000), "a/b/config.json": b"{}", "a.txt": b"hello", "ünï code.txt": b"x", "e": b""}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    for path, content in TREE.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


@pytest.fixture(params=CURVES, ids=lambda curve: curve.name)
def key(request: pytest.FixtureRequest, tmp_path: Path) -> SigningKey:
    key = SigningKey(ec.generate_private_key(request.param))
    key.save(tmp_path / "key.pem")
    key.public_key.save(tmp_path / "key.pub")
    return key


@pytest.fixture
def tool(tmp_path: Path) -> Callable[..., int]:
    def run(*words: object) -> int:
        command = [TOOL, *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120).returncode

    return run


def test_their_tool_verifies_what_we_signed(model: Path, key: SigningKey, tool: Callable[..., int], tmp_path: Path):
    (tmp_path / "ours.sig").write_bytes(sign("team/m@1", sha256_of_directory(model), key))
    verify = ("verify", "key", model, "--signature", tmp_path / "ours.sig", "--public_key", tmp_path / "key.pub")
    assert tool(*verify) == 0
    (model / "a.txt").write_bytes(b"hullo")
    assert tool(*verify) != 0


def test_we_verify_what_their_tool_signed(model: Path, key: SigningKey, tool: Callable[..., int], tmp_path: Path):
    theirs = model / "model.sig"
    assert tool("sign", "key", model, "--signature", theirs, "--private_key", tmp_path / "key.pem") == 0
    bundle = Bundle.from_bytes(theirs.read_bytes())
    bundle.check(sha256_of_directory(model, {"model.sig"}), key.public_key)
    (model / "a.txt").write_bytes(b"hullo")
    with pytest.raises(FailedPrecondition):
        bundle.check(sha256_of_directory(model, {"model.sig"}), key.public_key)
