"""Checkpoints are unpickled in a process that runs nothing they ask for."""

import argparse
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from modelzoo.convert.confinement import FORBIDDEN_STATUS
from modelzoo.convert.state_dict import open_state_dict, read_to_safetensors
from modelzoo.errors import InvalidArgument

AUDITED = Path(__file__).parents[2] / "support" / "audited_unpickle.py"
SUSPICIOUS = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.__new__", "written"}


class Payload:
    """Unpickled without care, it makes the file `marker`."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self._marker}",)


def as_zip(payload: Payload, path: Path) -> None:
    torch.save({"weight": torch.zeros(2), "more": payload}, path)


def as_first_bytes(payload: Payload, path: Path) -> None:
    torch.save({"weight": torch.zeros(2), "more": payload}, path, _use_new_zipfile_serialization=False)


def as_bare_pickle(payload: Payload, path: Path) -> None:
    path.write_bytes(pickle.dumps(payload, protocol=2))


def as_modern_pickle(payload: Payload, path: Path) -> None:
    path.write_bytes(pickle.dumps(payload))


def as_tar(payload: Payload, path: Path) -> None:
    inner = path.with_suffix(".pkl")
    inner.write_bytes(pickle.dumps(payload, protocol=2))
    with tarfile.open(path, "w") as archive:
        archive.add(inner, "pickle")


def as_nested_zip(payload: Payload, path: Path) -> None:
    inner = path.with_suffix(".inner")
    as_zip(payload, inner)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(inner, "archive/data.pkl")


# A tar is refused before any process is started for it.
MALICIOUS = [as_zip, as_first_bytes, as_bare_pickle, as_modern_pickle, as_nested_zip]


def audited(mode: str, folder: Path) -> tuple[int, set[str]]:
    """How the process ended that read evil.pth, and the audit events in it."""
    log = folder / "events"
    argv = [sys.executable, "-P", str(AUDITED), str(log), mode, str(folder / "evil.pth"), str(folder / "out")]
    done = subprocess.run(argv, capture_output=True, timeout=120, check=False)
    return done.returncode, set(log.read_text().split())


@pytest.mark.parametrize("write", MALICIOUS)
def test_nothing_that_a_malicious_checkpoint_asks_for_is_run(
    write: Callable[[Payload, Path], None], tmp_path: Path
) -> None:
    write(Payload(tmp_path / "marker"), tmp_path / "evil.pth")
    with pytest.raises(InvalidArgument) as caught:
        read_to_safetensors(tmp_path / "evil.pth", tmp_path / "out.safetensors")
    # What torch cannot even open has no pickle to refuse.
    assert caught.value.reason == ("CHECKPOINT_UNSUPPORTED" if write is as_nested_zip else "PICKLE_REFUSED")
    status, events = audited("converter", tmp_path)
    assert (status, events & SUSPICIOUS) == (0, set())
    assert not (tmp_path / "marker").exists()
    assert not list(tmp_path.glob("out*"))


def test_a_tar_of_pickles_is_refused(tmp_path: Path) -> None:
    as_tar(Payload(tmp_path / "marker"), tmp_path / "evil.pth")
    with pytest.raises(InvalidArgument) as caught:
        read_to_safetensors(tmp_path / "evil.pth", tmp_path / "out.safetensors")
    assert caught.value.reason == "PICKLE_REFUSED"
    assert not (tmp_path / "marker").exists()


def test_the_recorder_sees_what_careless_loading_runs(tmp_path: Path) -> None:
    as_zip(Payload(tmp_path / "marker"), tmp_path / "evil.pth")
    _, events = audited("careless", tmp_path)
    assert "os.system" in events
    assert (tmp_path / "marker").exists()


def test_even_careless_loading_runs_nothing_in_confinement(tmp_path: Path) -> None:
    as_zip(Payload(tmp_path / "marker"), tmp_path / "evil.pth")
    status, _ = audited("confined", tmp_path)
    assert status == FORBIDDEN_STATUS
    assert not (tmp_path / "marker").exists()


def test_tensors_arrive_as_they_were_however_they_share_memory(tmp_path: Path) -> None:
    whole = torch.randn(4, 6)
    state = {
        "a": whole,
        "tied": whole,
        "row": whole[1],
        "turned": whole.t(),
        "empty": torch.zeros(0),
        "n": torch.tensor(3),
    }
    torch.save(state, tmp_path / "state.pth")
    read_to_safetensors(tmp_path / "state.pth", tmp_path / "state.safetensors")
    read = open_state_dict(tmp_path / "state.safetensors")
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], value) for name, value in state.items())
    assert read["tied"] is read["a"]
    assert "tied" not in load_file(tmp_path / "state.safetensors")


def test_claims_of_more_than_the_file_holds_are_refused(tmp_path: Path) -> None:
    torch.save({"huge": torch.zeros(1).expand(10**11)}, tmp_path / "huge.pth")
    with pytest.raises(InvalidArgument, match="far more memory") as caught:
        read_to_safetensors(tmp_path / "huge.pth", tmp_path / "out.safetensors")
    assert caught.value.reason == "CHECKPOINT_UNSUPPORTED"


@pytest.mark.parametrize(
    "content",
    [{"epoch": 3}, [torch.zeros(1)], {"w": torch.eye(3).to_sparse()}],
    ids=["number", "list", "sparse"],
)
def test_what_is_no_state_dict_is_unsupported(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(InvalidArgument) as caught:
        read_to_safetensors(tmp_path / "other.pth", tmp_path / "out.safetensors")
    assert caught.value.reason == "CHECKPOINT_UNSUPPORTED"
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(("content", "reason"), [(b"<html>", "CHECKPOINT_UNSUPPORTED"), (None, "LOCAL_PATH_INVALID")])
def test_other_files_and_none_are_told_apart(content: bytes | None, reason: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(InvalidArgument) as caught:
        read_to_safetensors(tmp_path / "x.pth", tmp_path / "out.safetensors")
    assert caught.value.reason == reason


def test_a_file_that_breaks_off_is_unsupported(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1000)}, tmp_path / "whole.pth")
    (tmp_path / "part.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:2000])
    with pytest.raises(InvalidArgument) as caught:
        read_to_safetensors(tmp_path / "part.pth", tmp_path / "out.safetensors")
    assert caught.value.reason == "CHECKPOINT_UNSUPPORTED"


@pytest.mark.parametrize(
    ("content", "named", "advice"),
    [
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear", "torch.save(model.state_dict(), path)"),
        (
            {"model": {"w": torch.zeros(2)}, "args": argparse.Namespace(lr=0.1)},
            "argparse.Namespace",
            'torch.save(checkpoint["model"], path)',
        ),
    ],
    ids=["module", "training script"],
)
def test_a_refused_pickle_says_what_it_names_and_how_to_save_it_again(
    content: object, named: str, advice: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "whole.pth")
    with pytest.raises(InvalidArgument) as caught:
        read_to_safetensors(tmp_path / "whole.pth", tmp_path / "out.safetensors")
    assert caught.value.reason == "PICKLE_REFUSED"
    assert f"it names {named}, which is code" in caught.value.message
    assert advice in caught.value.message
    assert "WeightsUnpickler" not in caught.value.message
