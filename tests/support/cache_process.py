"""Contents for the node cache, and one process of a node that uses it; tests start several of them and kill some.

    python -m support.cache_process ROOT BUDGET LOG SEED SIZE [--stall-after N]

It holds the file that SEED and SIZE make, says "held" when it has it, and lets go when its input ends. For every blob
that it fetches it appends a line to LOG. After N blobs it says "stalled" and waits to be killed.
"""

import argparse
import hashlib
import random
import sys
from pathlib import Path

from blake3 import blake3

from modelzoo.cache import NodeCache, PartialFile
from modelzoo.manifest import Blob, File

BLOB = 64 * 1024


def content_of(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def file_of(content: bytes, path: str = "weights.bin") -> File:
    pieces = [content[at : at + BLOB] for at in range(0, len(content), BLOB)]
    blobs = tuple(Blob(blake3(piece).hexdigest(), len(piece)) for piece in pieces)
    return File(path, len(content), hashlib.sha256(content).hexdigest(), blobs)


class Source:
    """Serves the blobs of some contents, remembers which, and can be made to fail."""

    def __init__(self, *contents: bytes) -> None:
        self._contents = {hashlib.sha256(content).hexdigest(): content for content in contents}
        self.served: list[int] = []
        self.fail_after: int | None = None
        self.damaged: set[int] = set()

    def __call__(self, part: PartialFile) -> None:
        content = self._contents[part.file.sha256]
        for offset, blob in part.missing():
            if len(self.served) == self.fail_after:
                raise ConnectionResetError
            self.served.append(offset)
            data = content[offset : offset + blob.size]
            part.put(offset, blob, bytes(len(data)) if offset in self.damaged else data)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("budget", type=int)
    parser.add_argument("log", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("size", type=int)
    parser.add_argument("--stall-after", type=int)
    args = parser.parse_args()
    content = content_of(args.seed, args.size)

    def fetch(part: PartialFile) -> None:
        for count, (offset, blob) in enumerate(part.missing()):
            if count == args.stall_after:
                print("stalled", flush=True)
                sys.stdin.read()
            with args.log.open("a") as log:
                log.write(f"{offset}\n")
            part.put(offset, blob, content[offset : offset + blob.size])

    with NodeCache(args.root, args.budget).hold(file_of(content), fetch) as path:
        assert path.read_bytes() == content
        print("held", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
