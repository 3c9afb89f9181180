"""How a process ended, in words."""

import signal

__all__ = ["exit_in_words"]


def exit_in_words(code: int) -> str:
    """Of a status as `subprocess` has it; goes on from the name of the process."""
    if code >= 0:
        return f"exited with status {code}"
    name = signal.Signals(-code).name
    hint = ", as the system does where memory ends" if -code == signal.SIGKILL else ""
    return f"was killed by {name}{hint}"
