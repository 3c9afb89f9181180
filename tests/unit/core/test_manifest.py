import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from modelzoo.errors import InvalidArgument
from modelzoo.manifest import BLOB_BYTES_MAX, MANIFEST_BYTES_MAX, Blob, File, Manifest, check_known

MIB = 1024 * 1024
A, B, C = "a" * 64, "b" * 64, "c" * 64

GOLDEN = Manifest.of(
    "transformers",
    [
        File("model.safetensors", 8 + MIB, C, (Blob(A, 8), Blob(B, MIB))),
        File("config.json", 2, "0" * 64, (Blob("d" * 64, 2),)),
        File("Ünïcode/模型.txt", 0, "e" * 64, ()),
    ],
)
GOLDEN_BYTES = (
    '{"cut":"tensor/1","files":['
    f'{{"blobs":[{{"digest":"{"d" * 64}","size":2}}],"path":"config.json","sha256":"{"0" * 64}","size":2}},'
    f'{{"blobs":[{{"digest":"{A}","size":8}},{{"digest":"{B}","size":1048576}}],'
    f'"path":"model.safetensors","sha256":"{C}","size":1048584}},'
    f'{{"blobs":[],"path":"Ünïcode/模型.txt","sha256":"{"e" * 64}","size":0}}'
    '],"format":"transformers","schema":"manifest/1"}'
).encode()
GOLDEN_DIGEST = "459c89b9dbc345be14814a8a65746d7ae1db6212782334132eba47ea36d9362f"

digests = st.text("0123456789abcdef", min_size=64, max_size=64)
blobs = st.dictionaries(digests, st.integers(1, BLOB_BYTES_MAX), max_size=4).map(
    lambda sizes: tuple(Blob(digest, size) for digest, size in sizes.items())
)
names = st.text("abcé模.-_", min_size=1, max_size=8).map(lambda name: f"x{name}y")


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    paths = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    files = [File(path, sum(b.size for b in cut), draw(digests), cut) for path in paths for cut in [draw(blobs)]]
    return Manifest.of(draw(st.sampled_from(["transformers", "opaque", "not-yet-known"])), files)


def test_golden_bytes_and_name():
    assert GOLDEN.to_bytes() == GOLDEN_BYTES
    assert GOLDEN.digest() == GOLDEN_DIGEST
    assert Manifest.from_bytes(GOLDEN_BYTES) == GOLDEN


@given(manifests())
def test_bytes_give_the_manifest_back_and_are_what_rfc_8785_says(manifest: Manifest):
    data = manifest.to_bytes()
    assert Manifest.from_bytes(data) == manifest
    assert rfc8785.dumps(json.loads(data)) == data


@given(st.data())
def test_bytes_that_differ_anywhere_are_refused_or_another_canonical_manifest(data: st.DataObject):
    original = bytearray(GOLDEN_BYTES)
    at = data.draw(st.integers(0, len(original) - 1))
    length = data.draw(st.integers(0, 3))
    original[at : at + length] = data.draw(
        st.binary(max_size=3) | st.sampled_from([b" ", b"0", b"\\u0061", b"[", b"9"])
    )
    try:
        read = Manifest.from_bytes(bytes(original))
    except InvalidArgument:
        return
    assert read.to_bytes() == bytes(original)


def change(**members: object) -> bytes:
    return rfc8785.dumps({**json.loads(GOLDEN_BYTES), **members})


def change_file(**members: object) -> bytes:
    document = json.loads(GOLDEN_BYTES)
    document["files"][0].update(members)
    return rfc8785.dumps(document)


NOT_CANONICAL = {
    "empty": b"",
    "not JSON": b"\x80\x04.",
    "byte order mark": b"\xef\xbb\xbf" + GOLDEN_BYTES,
    "a space": GOLDEN_BYTES.replace(b'"cut":', b'"cut": '),
    "a line end after it": GOLDEN_BYTES + b"\n",
    "members in another order": json.dumps(dict(reversed(json.loads(GOLDEN_BYTES).items()))).encode(),
    "escaped letters": GOLDEN_BYTES.replace("Ü".encode(), b"\\u00dc"),
    "a member twice": GOLDEN_BYTES.replace(b'"size":2}],', b'"size":2,"size":2}],'),
    "an unknown member": change(author="x"),
    "an unknown member of a file": change_file(mode=420),
    "a missing member": rfc8785.dumps({k: v for k, v in json.loads(GOLDEN_BYTES).items() if k != "cut"}),
    "another schema": change(schema="manifest/2"),
    "no files": change(files=[]),
    "files null": change(files=None),
    "a size as text": change_file(size="2"),
    "a fractional size": GOLDEN_BYTES.replace(b'"size":2}],', b'"size":2.0}],'),
    "an exponent": GOLDEN_BYTES.replace(b'"size":2}],', b'"size":2e0}],'),
    "leading zeros": GOLDEN_BYTES.replace(b'"size":2}],', b'"size":02}],'),
    "a negative size": change_file(size=-2),
    "sizes that do not add up": change_file(size=3),
    "an upper-case digest": change_file(sha256=C.upper()),
    "a short digest": change_file(sha256=C[:-1]),
    "an empty blob": change_file(blobs=[{"digest": A, "size": 0}], size=0),
    "a blob over the limit": change_file(blobs=[{"digest": A, "size": BLOB_BYTES_MAX + 1}], size=BLOB_BYTES_MAX + 1),
    "a blob with two sizes": change_file(blobs=[{"digest": A, "size": 9}], size=9),
    "files out of order": change(files=json.loads(GOLDEN_BYTES)["files"][::-1]),
    "a format that is no word": change(format="Transformers!"),
    "a cut without a number": change(cut="tensor"),
    "not UTF-8": GOLDEN_BYTES.replace("Ü".encode(), b"\xff\xfe"),
    "deeply nested": b"[" * 1_000_000,
    "a tree of nothing": b'{"cut":' + b"[]," * 1_000_000,
}


@pytest.mark.parametrize("data", NOT_CANONICAL.values(), ids=NOT_CANONICAL.keys())
def test_a_document_that_is_not_a_canonical_manifest_is_refused(data: bytes):
    with pytest.raises(InvalidArgument) as caught:
        Manifest.from_bytes(data)
    assert caught.value.reason == "MANIFEST_INVALID"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../a", "PATH_INVALID"),
        ("/a", "PATH_INVALID"),
        ("model.safetensors", "PATH_DUPLICATE"),
        ("Model.Safetensors", "PATH_DUPLICATE"),
        ("model.safetensors/x", "PATH_DUPLICATE"),
    ],
)
def test_a_path_that_is_unsafe_or_meets_another_is_refused(path: str, reason: str):
    document = json.loads(GOLDEN_BYTES)
    document["files"][0]["path"] = path
    document["files"].sort(key=lambda file: file["path"].encode())
    with pytest.raises(InvalidArgument) as caught:
        Manifest.from_bytes(rfc8785.dumps(document))
    assert caught.value.reason == reason


def test_a_manifest_over_64_mib_is_refused_before_it_is_read():
    with pytest.raises(InvalidArgument, match="over 67108864"):
        Manifest.from_bytes(bytes(MANIFEST_BYTES_MAX + 1))


def test_files_are_ordered_by_utf8_bytes_not_by_utf16():
    paths = ["\U0001f600", "\uff5e", "z"]  # UTF-16 would put the emoji's surrogates first
    manifest = Manifest.of("opaque", [File(path, 0, A, ()) for path in paths])
    assert [file.path for file in manifest.files] == ["z", "\uff5e", "\U0001f600"]


def test_an_unknown_format_is_read_but_not_accepted_as_new():
    manifest = Manifest.from_bytes(change(format="hologram"))
    assert manifest.format == "hologram"
    with pytest.raises(InvalidArgument, match="hologram"):
        check_known(manifest)
    check_known(GOLDEN)


def test_totals_count_every_byte_of_files_but_each_blob_once():
    twice = Manifest.of("opaque", [File(path, 10, C, (Blob(A, 5), Blob(A, 5))) for path in ("x", "y")])
    assert twice.size_bytes == 20
    assert twice.unique_blobs() == {A: 5}
    assert twice.file("y") is twice.files[1]
    assert twice.file("z") is None
