"""Sends a child's checkpoints and its result, as the job's own principal."""

import time
from pathlib import Path

import grpc

from modelzoo.errors import Unauthenticated, Unavailable
from modelzoo.tree import read_tree
from modelzoo.upload import Base, upload
from zoo_trainer.keeping import Pushed, Pushes
from zoo_trainer.stopping import Orders

__all__ = ["ArtifactPushes", "push_patiently"]

# A result that cannot be sent is tried for as long as leases are bridged over an outage, and then some.
PATIENCE_S = 600.0
PAUSE_S = 2.0


class ArtifactPushes:
    """Into the namespace, over the channel; `base` may be read."""

    def __init__(self, channel: grpc.Channel, namespace: str, base: Base) -> None:
        self._channel = channel
        self._namespace = namespace
        self._bases = [base]

    def push(self, folder: Path, format: str) -> Pushed:
        tree = read_tree(folder)
        uploaded = upload(self._channel, tree, self._namespace, format=format, bases=self._bases)
        # Beside the base, the last one: what it has and training did not change since is not sent again.
        self._bases[1:] = [Base(self._namespace, uploaded.digest)]
        # What was sent once more, after a fault on the way, is not new.
        return Pushed(uploaded.digest, tree.size_bytes, min(uploaded.bytes_sent, tree.size_bytes))


def push_patiently(pushes: Pushes, folder: Path, format: str, orders: Orders) -> Pushed:
    """Push what a whole training came to; the service or a fresh principal may be away for a while. Raises Stopped."""
    until = time.monotonic() + PATIENCE_S
    while True:
        orders.check()
        try:
            return pushes.push(folder, format)
        except (Unavailable, Unauthenticated):
            if time.monotonic() > until:
                raise
            time.sleep(PAUSE_S)
