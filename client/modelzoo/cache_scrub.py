"""Reading the node cache again from beginning to end, a file at a time, by one process of the node.

The file `scrub` in the cache's folder says how far it is: the SHA-256 of the last file that was read, or nothing where
the end was reached; then its mtime says when. It is locked by whoever reads.
"""

import os
import time
from contextlib import suppress

from modelzoo.cache import NodeCache
from modelzoo.cache_lock import Lock, locked
from modelzoo.progress import Progress

__all__ = ["scrub_when_due"]


def scrub_when_due(cache: NodeCache, every_s: float, progress: Progress) -> list[str]:
    """Read on where the last reading stopped, or from the beginning if its end is `every_s` ago, to the end.

    Gives the SHA-256 of files that were damaged and so removed; nothing where it is not due or another process is at
    it. What `progress` raises ends it; the next call goes on with the same file.
    """
    damaged: list[str] = []
    with suppress(BlockingIOError), locked(cache.root / "scrub", os.O_RDWR | os.O_CREAT, Lock.ALONE_NOW) as state:
        done = os.pread(state, 64, 0).decode("ascii", "replace")
        if not done and os.fstat(state).st_mtime > time.time() - every_s:
            return []
        for sha256 in cache.files():
            if sha256 <= done:
                continue
            if not cache.check(sha256, progress):
                damaged.append(sha256)
            os.pwrite(state, sha256.encode(), 0)
        os.ftruncate(state, 0)
        os.utime(state)
    return damaged
