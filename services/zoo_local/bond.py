"""Become the command given, such that the kernel kills it when the process that started it ends, however it ends.

    python -I -S bond.py PARENT_PID COMMAND [ARGUMENT ...]

Linux only (prctl(2), PR_SET_PDEATHSIG); elsewhere the command runs without that bond. Exit status 127: no such command.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
NOT_STARTED = 127


def main(parent_pid: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:  # it ended before the bond was made
            sys.exit(NOT_STARTED)
    try:
        os.execv(command[0], command)  # noqa: S606 - the point of this file
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(NOT_STARTED)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
