import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelzoo.errors import InvalidArgument
from modelzoo.paths import check_path, check_paths


@pytest.mark.parametrize(
    "path",
    [
        *["config.json", "model-00001-of-00002.safetensors", "onnx/model.onnx", "a/b/c/d", ".gitattributes"],
        *["1_Pooling/config.json", "a b.txt", "-x", "~", "a..b", "...a", "Über.txt", "模型.bin", "👩\u200d🔬.txt"],
        *["console.txt", "com10", "auxiliary", "nullable.txt", "@", "a" * 255, "é" * 127, "/".join(["a" * 100] * 10)],
    ],
)
def test_a_usual_path_passes(path: str):
    check_path(path)


BAD = [
    *["", "/", "/etc/passwd", "//a", "..", ".", "../a", "a/..", "a/../b", "a/../../b", "./a", "a/.", "a//b", "a/"],
    *["a/./b"],
    *["a\x00", "a\x00.txt", "a\nb", "a\rb", "a\tb", "\x1b[31m", "a\x7f", "a\x85b", "a\u2028b"],
    *["a\\b", "..\\a", "\\\\host\\share", "C:\\a", "C:a", "c:/a", "a:stream", "file:///a"],
    *["a\u202egpj.exe", "\u2066a", "a\u200fb", "a\u061cb", "\ufeffa", "a\u200bb"],
    *["a\u0301", "e\u0301/x", "\u212b", "a/\uf900"],
    *["con", "CON", "nul.txt", "NUL.tar.gz", "a/aux", "aux/a", "COM1", "lpt9.log", "prn .txt", "com\u00b9", "CONIN$"],
    *["a.", "a ", "a./b", "a /b", "a...", "\u0020"],
    *["a*b", "a?b", "a<b", "a>b", 'a"b', "a|b"],
    *["a" * 256, "é" * 128, "/".join(["a"] * 513), "a\ud800b"],
]  # fmt: skip


@pytest.mark.parametrize("path", BAD, ids=lambda path: ascii(path[:30]))
def test_an_unsafe_path_is_refused(path: str):
    with pytest.raises(InvalidArgument) as caught:
        check_path(path)
    assert caught.value.reason == "PATH_INVALID"
    assert caught.value.message.isascii()
    assert caught.value.message.isprintable()


@given(st.text(alphabet=st.sampled_from("ab./\\:A \x00é\u0301\u202e"), max_size=12))
def test_an_accepted_path_stays_inside_its_directory(text: str):
    try:
        check_path(text)
    except InvalidArgument:
        return
    joined = os.path.normpath("/root/" + text)
    assert joined == "/root/" + text
    assert Path(joined).is_relative_to("/root")


@pytest.mark.parametrize(
    "paths",
    [
        ["a", "a"],
        ["a", "A"],
        ["x/README.md", "x/readme.MD"],
        ["straße", "STRASSE"],
        ["a", "a/b"],
        ["a/b", "a"],
        ["A", "a/b"],
        ["a/b/c", "a/B"],
        ["Data/x", "data/y"],
        ["p/Data/x", "p/data/y"],
    ],
)
def test_paths_that_meet_on_some_file_system_are_refused(paths: list[str]):
    with pytest.raises(InvalidArgument) as caught:
        check_paths(paths)
    assert caught.value.reason == "PATH_DUPLICATE"


def test_paths_that_only_look_alike_pass():
    check_paths(["a", "a.b", "a-b/c", "ab", "b/a", "b/ab", "c/a/a"])


def test_an_unsafe_path_among_many_is_refused():
    with pytest.raises(InvalidArgument) as caught:
        check_paths(["a", "b/../c"])
    assert caught.value.reason == "PATH_INVALID"
