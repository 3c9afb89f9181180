import bz2
import collections
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile
import zlib
from pathlib import Path

import gguf
import numpy as np
import pytest
import safetensors.torch
import sentencepiece
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modelzoo.errors import InvalidArgument
from modelzoo.sniff import find_pickle, refuse_danger

STATE = collections.OrderedDict(weight=[1.0, 2.0], bias=None, epoch=3)


class Attack:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return (open, ("/tmp/must-not-exist-after-the-tests", "w"))


def found(content: bytes) -> str | None:
    return find_pickle(io.BytesIO(content))


def saved(save, *arguments, **options) -> bytes:
    file = io.BytesIO()
    save(*arguments, file, **options)
    return file.getvalue()


def zip_of(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def tar_of(name: str, content: bytes, format: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def npz_of_objects() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.zeros(3), b=np.array([{}], dtype=object))
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


PICKLE = pickle.dumps(STATE, 4)
TORCH = saved(torch.save, {"w": torch.zeros(3)})
PICKLES = {
    **{f"protocol {n}": pickle.dumps(STATE, n) for n in range(6)},
    **{f"an attack in protocol {n}": pickle.dumps(Attack(), n) for n in range(6)},
    **{f"plain data in protocol {n}": pickle.dumps({"a": [1, "x"]}, n) for n in range(6)},
    "a pickle with more behind it": PICKLE + b"garbage" * 1000,
    "an early pickle with more behind it": pickle.dumps(Attack(), 0) + b"garbage",
    "a pickle that starts with bytes": pickle.dumps([bytes(5_000_000), Attack()], 4),
    "raw bytes between the opcodes, as joblib has them": pickle.dumps(STATE, 4)[:-1] + bytes(1000) + b".",
    "torch.save": TORCH,
    "torch.save, legacy": saved(torch.save, {"w": torch.zeros(3)}, _use_new_zipfile_serialization=False),
    "a whole torch module": saved(torch.save, torch.nn.Linear(2, 2)),
    "torch.export": saved(torch.export.save, torch.export.export(torch.nn.ReLU(), (torch.zeros(2),))),
    "numpy objects": npy(np.array([{}], dtype=object)),
    "numpy records with objects": npy(np.zeros(2, dtype=[("a", "<f4"), ("b", "O")])),
    "an npz with objects": npz_of_objects(),
    "zip": zip_of(readme=b"hello", weights=PICKLE),
    "zip behind other bytes": b"#!/bin/sh\nexit\n" + zip_of(weights=PICKLE),
    "zip with a damaged member": zip_of(**{"model/data.pkl": PICKLE}).replace(PICKLE[:8], bytes(8)),
    "torch.save in a zip": zip_of(inner=TORCH),
    "tar": tar_of("weights", PICKLE),
    "tar of the oldest kind": tar_of("pickle", PICKLE, tarfile.USTAR_FORMAT).replace(b"ustar\x0000", bytes(8), 1),
    "gzip": gzip.compress(PICKLE),
    "bzip2": bz2.compress(PICKLE),
    "xz": lzma.compress(PICKLE),
    "zlib, as joblib": zlib.compress(PICKLE),
    "tar.gz": gzip.compress(tar_of("weights", PICKLE)),
    "gzip of torch.save": gzip.compress(TORCH),
    "gzip of a large torch.save": gzip.compress(saved(torch.save, {"w": torch.rand(1_000_000)}), 1),
    "gzip that breaks off": gzip.compress(pickle.dumps([Attack(), bytes(range(256)) * 1000], 4))[:-50],
}
# Without the magic the checksum is another; it is spaces and digits at 148 to 156.
_tar = bytearray(PICKLES["tar of the oldest kind"])
_tar[148:156] = b"%06o\0 " % (sum(_tar[:148]) + sum(_tar[156:512]) + 8 * 32)
PICKLES["tar of the oldest kind"] = bytes(_tar)


@pytest.mark.parametrize("content", PICKLES.values(), ids=PICKLES.keys())
def test_a_pickle_is_found_whatever_it_is_wrapped_in(content: bytes):
    assert found(content)


def test_nothing_that_was_looked_at_was_ever_loaded():
    for content in PICKLES.values():
        found(content)
    assert not Path("/tmp/must-not-exist-after-the-tests").exists()


def test_the_refusal_names_the_file_and_the_way_out(tmp_path: Path):
    (tmp_path / "model.safetensors").write_bytes(PICKLE)
    with pytest.raises(InvalidArgument, match=r"'a/model\.safetensors' is a pickle.*safetensors") as caught:
        refuse_danger("a/model.safetensors", lambda: (tmp_path / "model.safetensors").open("rb"))
    assert caught.value.reason == "PICKLE_REFUSED"


def sentencepiece_model() -> bytes:
    model = io.BytesIO()
    words = iter(["the zoo keeps models", "a model is a manifest and some blobs", "cats import dogs."] * 20)
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=words, model_writer=model, vocab_size=40, minloglevel=5, hard_vocab_limit=False
    )
    return model.getvalue()


def gguf_file(folder: Path) -> bytes:
    writer = gguf.GGUFWriter(folder / "x.gguf", "llama")
    writer.add_tensor("token_embd.weight", np.ones((4, 8), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return (folder / "x.gguf").read_bytes()


HARMLESS = {
    "nothing": b"",
    "safetensors": safetensors.torch.save({"w": torch.zeros(100)}, {"format": "pt"}),
    "safetensors with a length like a pickle's start": (0x0280).to_bytes(8, "little") + b"{}" + b" " * 0x27E,
    "config.json": json.dumps({"model_type": "bert"}).encode(),
    "tokenizer.json": tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, "[UNK]")).to_str().encode(),
    "vocab.txt": b"[PAD]\n[UNK]\n.\nthe\ncat\n",
    "vocab.txt like an import": b"cat\ndog\n.\nthe\n",
    "merges.txt": "#version: 0.2\nĠ t\nĠ a\n".encode(),
    "text that begins with a pickle of None": b"N.B. this is a readme",
    "text that begins with a pickle of a number": b"I1\n. one thing\n",
    "a dot": b".",
    "readme": b"(c) 2026 somebody.\nPlease read this.\n",
    "python": b"import os\nclass A:\n    pass\n",
    "onnx": b"\x08\x07\x12\x07pytorch\x1a\x052.1.0:\x8b\x80\x02",
    "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "keras": zip_of(**{"config.json": b"{}", "model.weights.h5": b"\x89HDF\r\n\x1a\n"}),
    "numpy numbers": npy(np.zeros(3)),
    "numpy text": npy(np.array(["|O", "'descr': '|O'"])),
    "zip of texts": zip_of(a=b"hello", b=json.dumps({"x": 1}).encode()),
    "gzip of json": gzip.compress(b'{"a": 1}'),
    "tar of text": tar_of("a.txt", b"hello"),
    "an empty zip": zip_of(),
    "a broken zip": b"PK\x03\x04" + bytes(200),
    "a broken gzip": b"\x1f\x8b\x08" + bytes(200),
    "half a pickle's mark": b"\x80\x04",
    "a mark and noise": b"\x80\x02\x00\x01\x02\x03",
    "an unknown protocol": b"\x80\x09}q\x00.",
    "Latin-1 text that begins like a mark": b"\x80\x03 uro",
}  # fmt: skip


@pytest.mark.parametrize("content", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_is_no_pickle_is_never_called_one(content: bytes):
    assert found(content) is None


def test_a_sentencepiece_model_and_a_gguf_file_are_no_pickles(tmp_path: Path):
    assert found(sentencepiece_model()) is None
    assert found(gguf_file(tmp_path)) is None


@settings(max_examples=400)
@given(st.text(max_size=400).map(str.encode) | st.binary(max_size=400))
def test_text_and_random_bytes_are_no_pickles(content: bytes):
    assert found(content) is None


@given(st.recursive(st.none() | st.integers() | st.text() | st.floats(), st.lists))
def test_every_object_pickled_by_python_is_found(value: object):
    for protocol in range(2, 6):
        assert found(pickle.dumps(value, protocol))


def test_a_bomb_is_not_unfolded():
    zeros = gzip.compress(bytes(100_000_000))
    assert found(zip_of(**{f"m{n}": zeros for n in range(50)})) is None


def test_a_seekable_file_is_left_open_to_its_owner():
    file = io.BytesIO(b"text")
    assert find_pickle(file) is None
    assert file.seek(0) == 0
