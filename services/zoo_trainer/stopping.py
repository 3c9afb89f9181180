"""What the agent wants of the child: told by lines on its standard input, looked at between two steps."""

import os
import signal
import threading
from collections.abc import Callable
from enum import StrEnum
from typing import IO

__all__ = ["Order", "Orders", "Stopped", "die_alone", "follow"]


class Order(StrEnum):
    """A line of the agent's."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"
    YIELD = "yield"


class Stopped(Exception):
    """The work ended because of an order."""


class Orders:
    """The last order. Any thread may give one."""

    def __init__(self) -> None:
        self.last = Order.RUN

    def check(self) -> None:
        """Raise Stopped where the child is to end; called where there is nothing to keep."""
        if self.last is not Order.RUN:
            raise Stopped(self.last)

    @property
    def stop(self) -> bool:
        return self.last is not Order.RUN

    @property
    def keep(self) -> bool:
        """Whether a checkpoint is wanted before the end."""
        return self.last in (Order.PAUSE, Order.YIELD)


def follow(stream: IO[str], orders: Orders, orphaned: Callable[[], None]) -> None:
    """Take orders on a thread of its own; `orphaned` is called when the stream ends, as it does with the agent."""

    def run() -> None:
        for line in stream:
            orders.last = Order(line.strip())
        orphaned()

    threading.Thread(target=run, name="orders", daemon=True).start()


def die_alone() -> None:
    """End this process and all of its group, at once."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)
