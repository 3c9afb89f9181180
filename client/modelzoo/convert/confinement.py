"""What a process may still do once it has begun to read a file that nobody vouches for. None of it can be undone."""

import os
import resource
import sys

__all__ = ["FORBIDDEN_STATUS", "confine"]

FORBIDDEN_STATUS = 77

# Beyond what this process has taken so far: the file mapped, its tensors, a copy to write from, and room to work.
MEMORY_BASE_BYTES, MEMORY_PER_FILE_BYTE = 1 << 30, 4
WRITTEN_BASE_BYTES, WRITTEN_PER_FILE_BYTE = 64 << 20, 4
CPU_BASE_S, CPU_BYTES_PER_S = 120, 20_000_000

# Audit events (PEP 578) of what reading tensors never does, by their beginnings. `pickle.` is the interpreter's own
# unpickler: torch's restricted one raises no event.
_FORBIDDEN = (
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.kill", "os.putenv", "pty.", "subprocess."),
    *("socket.", "urllib.", "ftplib.", "http.", "smtplib.", "ctypes.", "webbrowser.", "pickle.", "tempfile."),
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate"),
    *("shutil.", "code.__new__", "sys.addaudithook", "sys.setprofile", "sys.settrace"),
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def confine(file_bytes: int) -> None:
    """Limit memory, time and output to what reading a file of that size needs, and end the process with
    FORBIDDEN_STATUS should Python code in it start a program, use the network, load a library or write a file.
    """
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, CPU_BASE_S + file_bytes // CPU_BYTES_PER_S)
    _limit(resource.RLIMIT_FSIZE, WRITTEN_BASE_BYTES + WRITTEN_PER_FILE_BYTE * file_bytes)
    # Elsewhere the address space is no measure of memory, or cannot be limited.
    if sys.platform == "linux":
        _limit(resource.RLIMIT_AS, _address_space() + MEMORY_BASE_BYTES + MEMORY_PER_FILE_BYTE * file_bytes)
    sys.addaudithook(_watch)


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    is_written = event == "open" and isinstance(flags := arguments[2], int) and flags & _WRITING
    if is_written or event.startswith(_FORBIDDEN):
        # An exception could be caught by what must not go on.
        os._exit(FORBIDDEN_STATUS)


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


def _address_space() -> int:
    """Bytes of address space that this process has taken so far (proc(5), statm)."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
