"""Become the command given, such that the kernel kills it when the process that started it ends, however it ends.

    python die_with_parent.py PARENT_PID USER_ID|- COMMAND [ARGUMENT ...]

Linux only (prctl(2), PR_SET_PDEATHSIG); elsewhere the command runs without that bond.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent_pid: int, user: str, command: list[str]) -> None:
    if user != "-":  # before the bond, which would not survive it
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:  # it ended before the bond was made
            sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
