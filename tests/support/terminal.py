"""The command `zoo` as a person at a terminal sees it."""

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["ZOO", "on_a_terminal"]

ZOO = str(Path(sys.executable).with_name("zoo"))


def on_a_terminal(*words: str) -> str:
    """What the command writes to a terminal; its notes on stderr go elsewhere."""
    leader, follower = os.openpty()
    with subprocess.Popen([ZOO, *words], stdout=follower, stderr=subprocess.DEVNULL) as process:
        os.close(follower)
        shown = b""
        try:
            while piece := os.read(leader, 4096):
                shown += piece
        except OSError:  # how Linux says that nobody holds the other end any more
            pass
        os.close(leader)
        assert process.wait(20) == 0
    return shown.decode()
