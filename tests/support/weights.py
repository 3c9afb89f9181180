"""Weights files made on the spot."""

import json
import random
import struct

__all__ = ["weights"]


def weights(*sizes: int, seed: int = 1) -> bytes:
    """A safetensors file of uint8 tensors of those sizes."""
    entries, data = {}, b""
    for number, size in enumerate(sizes):
        entries[f"t{number}"] = {"dtype": "U8", "shape": [size], "data_offsets": [len(data), len(data) + size]}
        data += random.Random(seed + number).randbytes(size)
    header = json.dumps(entries).encode()
    return struct.pack("<Q", len(header)) + header + data
