"""What of a directory is pushed, and what is refused."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelzoo.errors import InvalidArgument
from modelzoo.push_checks import guess_format
from modelzoo.tree import check_unchanged, read_tree

Tree = Callable[..., Path]


def refusal(root: Path) -> str:
    with pytest.raises(InvalidArgument) as caught:
        read_tree(root)
    assert caught.value.reason == "LOCAL_PATH_INVALID"
    return caught.value.message


def test_hidden_files_and_directories_are_left_out_and_named(tree: Tree):
    root = tree({"a": b"", ".git/HEAD": b"", "sub/.DS_Store": b"", "sub/b": b""})
    found = read_tree(root)
    assert [entry.path for entry in found.files] == ["a", "sub/b"]
    assert found.skipped == (".git", "sub/.DS_Store")


def test_link_to_a_file_inside_is_that_file(tree: Tree):
    root = tree({"blobs/x": b"12345"})
    (root / "model.bin").symlink_to("blobs/x")
    assert {entry.path: entry.size for entry in read_tree(root).files} == {"blobs/x": 5, "model.bin": 5}


def test_link_that_leaves_the_directory_is_refused(tree: Tree, tmp_path: Path):
    (tmp_path / "secret").write_bytes(b"s")
    root = tree({"a": b""})
    (root / "link").symlink_to(tmp_path / "secret")
    assert "leaves the directory" in refusal(root)


def test_link_to_a_directory_is_refused(tree: Tree):
    root = tree({"a/b": b""})
    (root / "a" / "loop").symlink_to("..")
    (root / "link").symlink_to("a")
    assert "link" in refusal(root)


def test_pipe_is_refused_without_waiting_for_its_writer(tree: Tree):
    root = tree({"a": b""})
    os.mkfifo(root / "pipe")
    assert "neither a file nor a directory" in refusal(root)


@pytest.mark.parametrize("files", [{}, {".hidden": b""}])
def test_directory_without_files_is_refused(tree: Tree, tmp_path: Path, files: dict[str, bytes]):
    (tmp_path / "tree").mkdir()
    assert "has no files" in refusal(tree(files))


def test_missing_directory_is_refused(tmp_path: Path):
    assert "does not exist" in refusal(tmp_path / "nowhere")


def test_names_that_differ_in_case_only_are_refused(tree: Tree):
    root = tree({"Config.json": b"", "config.json": b""})
    with pytest.raises(InvalidArgument) as caught:
        read_tree(root)
    assert caught.value.reason == "PATH_DUPLICATE"


@pytest.mark.parametrize("change", ["write", "add", "remove"])
def test_change_is_noticed_and_the_file_named(tree: Tree, change: str):
    root = tree({"a": b"1", "b": b"2"})
    found = read_tree(root)
    if change == "write":
        (root / "b").write_bytes(b"22")
    elif change == "add":
        (root / "bb").write_bytes(b"")
    else:
        (root / "b").unlink()
    with pytest.raises(InvalidArgument, match=r"/bb?' changed"):
        check_unchanged(found)


@pytest.mark.parametrize(
    ("names", "format"),
    [
        (["config.json", "model.safetensors"], "transformers"),
        (["adapter_config.json", "adapter_model.safetensors"], "adapter"),
        (["onnx/model.onnx", "config.json"], "onnx"),
        (["model-q4.GGUF"], "gguf"),
        (["config.json", "notes.txt"], "opaque"),
    ],
)
def test_format_follows_from_the_names(tree: Tree, names: list[str], format: str):
    assert guess_format(read_tree(tree(dict.fromkeys(names, b"")))) == format
