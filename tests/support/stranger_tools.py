"""The programs with which a stranger reads a bucket: aws from its wheel, jq and b3sum from the machine or, where it has
none, from Debian's packages, which are fetched by pinned hash and only unpacked.
"""

import os
import platform
import shutil
import sys
from pathlib import Path

from platformdirs import user_cache_path

from zoo_starters.debs import Deb, extract

__all__ = ["stranger_path"]

B3SUM = Deb(
    "b3sum",
    "1.2.0-1+b4",
    "98960a7a916ff275ed627af8d7e568af5342c40a1164e7e6ccdceee80df9fe4c",
    "pool/main/r/rust-b3sum/b3sum_1.2.0-1+b4_amd64.deb",
)
JQ = Deb(
    "jq",
    "1.6-2.1+deb12u2",
    "f2303584378ac85f6d3a9ae8e46412196061681e81610d3b020abe4b5d389eb0",
    "pool/main/j/jq/jq_1.6-2.1+deb12u2_amd64.deb",
)
LIBJQ = Deb(
    "libjq1",
    "1.6-2.1+deb12u2",
    "f501b6349a3c2462af59e7a598ebd71e7889de46c9ddf852eb12ebeba7df21a2",
    "pool/main/j/jq/libjq1_1.6-2.1+deb12u2_amd64.deb",
)
LIBONIG = Deb(
    "libonig5",
    "6.9.8-1",
    "59ecfce6d88c7c4b09496ce182b3b8303e8e8477664e009b16ae83a09cd12be7",
    "pool/main/libo/libonig/libonig5_6.9.8-1_amd64.deb",
)
LIBRARIES = "usr/lib/x86_64-linux-gnu"
# A program, and the members of packages that it consists of.
PARTS = {
    "b3sum": {B3SUM: {"usr/bin/b3sum": "b3sum"}},
    "jq": {
        JQ: {"usr/bin/jq": "jq"},
        LIBJQ: {f"{LIBRARIES}/libjq.so.1.0.4": "libjq.so.1"},
        LIBONIG: {f"{LIBRARIES}/libonig.so.5.3.0": "libonig.so.5"},
    },
}


def stranger_path(folder: Path) -> dict[str, str]:
    """The environment in which aws, jq and b3sum are found; `folder` takes what the machine lacks."""
    for program, parts in PARTS.items():
        if shutil.which(program) is None:
            if platform.machine() != "x86_64":
                raise RuntimeError(f"this machine has no {program}: install it")
            for deb, members in parts.items():
                extract(deb.fetch(user_cache_path("zoo-tests")), folder, members)
            (folder / program).chmod(0o755)
    own = os.pathsep.join([str(folder), str(Path(sys.prefix) / "bin"), os.environ["PATH"]])
    return {"PATH": own, "LD_LIBRARY_PATH": str(folder), "HOME": str(folder)}
