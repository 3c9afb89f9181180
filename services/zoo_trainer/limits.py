"""What holds for the child process: it dies with its agent, and takes no more memory than it may. Linux."""

import ctypes
import os
import resource
import signal
import sys

__all__ = ["die_with_parent", "limit_memory", "peak_memory_bytes", "used_memory_bytes"]

PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_parent(parent_pid: int) -> None:
    """From now on the kernel kills this process when the one that started it ends, however it ends."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it ended before that was set
        os._exit(1)


def limit_memory(limit_bytes: int) -> None:
    """Allocations beyond it fail. Mapped files do not count, as they can be read again; 0 sets no limit."""
    if limit_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def peak_memory_bytes() -> int:
    """The most that was resident since the process began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def used_memory_bytes() -> int:
    """What is resident now."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return peak_memory_bytes()
