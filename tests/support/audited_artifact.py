"""Puts the corpus of malicious files to an artifact service in this process, and writes down what the interpreter did:
FOLDER. Prints {"answers": {name: reason}, "allowed": {name: reason where opaque files are allowed}, "events": [...]}.
"""

import asyncio
import encodings.cp437  # noqa: F401 - what zipfile imports for old names
import io
import json
import sys
from pathlib import Path

from modelzoo.cut import cut_file
from modelzoo.errors import ZooError
from modelzoo.manifest import Manifest
from support.artifact_server import Caller, artifact_server, cut, file_of
from support.malicious import CORPUS, Malicious
from zoo_server.principal import Role
from zoo_store.blobs_memory import MemoryBlobStore

# Running code, starting programs, reading foreign objects, writing and linking files.
WATCHED = (
    *("pickle.", "marshal.", "exec", "compile", "import", "os.", "subprocess.", "ctypes.", "shutil.", "code."),
    *("socket.connect", "urllib.", "open"),
)
folder = Path(sys.argv[1])
events: list[str] = []
watching = False


def record(event: str, arguments: tuple[object, ...]) -> None:
    if not watching or not event.startswith(WATCHED):
        return
    if event == "open" and (isinstance(arguments[0], int) or str(arguments[0]).startswith((str(folder), "/proc/"))):
        return
    events.append(f"{event} {arguments[:2]!r}"[:200])


async def put(caller: Caller, sample: Malicious, format: str = "opaque") -> str:
    """The reason for which it is refused, '' if it is not."""
    try:
        sizes = [part.length for part in cut_file(sample.path, io.BytesIO(sample.content), len(sample.content))]
    except ZooError:
        sizes = [len(part) for part in cut(sample.content)]
    parts, at = [], 0
    for size in sizes:
        parts.append(sample.content[at : at + size])
        at += size
    await caller.write(*parts)
    try:
        await caller.put(Manifest.of(format, [file_of(sample.path, *parts)]))
    except ZooError as error:
        return error.reason
    return ""


async def main() -> None:
    global watching
    answers: dict[str, str] = {}
    allowed: dict[str, str] = {}
    async with artifact_server(MemoryBlobStore(), folder) as server:
        caller = server.caller({"team": Role.ADMIN, "other": Role.PUBLISHER})
        # Everything is imported once before anybody watches.
        await caller.push({"harmless.zip": CORPUS["a zip that leaves its directory"].content[:30], "a": b"1"})
        await put(caller, CORPUS["xz"])
        watching = True
        for name, sample in CORPUS.items():
            answers[name] = await put(caller, sample)
        await caller.allow_opaque()
        for name, sample in CORPUS.items():
            allowed[name] = await put(caller, sample)
        watching = False
    print(json.dumps({"answers": answers, "allowed": allowed, "events": events}))


if __name__ == "__main__":
    sys.addaudithook(record)
    asyncio.run(main())
