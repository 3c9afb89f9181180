"""Keeps the gateway's snapshot of keys and grants: one stream from the catalog, opened again when it ends."""

import asyncio
import logging

import grpc

from zoo.iam.v1 import iam_service_pb2 as pb
from zoo.iam.v1 import iam_service_pb2_grpc as rpc
from zoo_gateway.access import Access, Key
from zoo_gateway.identity import Identity
from zoo_server.principal import EVERYWHERE, METADATA_KEY, Principal, Role, Signer

__all__ = ["access_from_pb", "watch_access"]

log = logging.getLogger(__name__)

REOPEN_S = 0.5
# Who the gateway itself is: the watch is for admins of the cluster.
SELF = Principal("service:gateway", {EVERYWHERE: Role.ADMIN})
CHANNEL = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    # A catalog that is gone without a word is noticed: from then on the snapshot ages.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)
_KNOWN_ROLES = frozenset(int(role) for role in Role)


async def watch_access(catalog: str, signer: Signer, identity: Identity) -> None:
    """Feed `identity` from the catalog at `host:port` for as long as the task lives."""
    async with grpc.aio.insecure_channel(catalog, options=CHANNEL) as channel:
        stub = rpc.IamServiceStub(channel)
        while True:
            await _follow(stub, signer, identity)
            identity.lose()
            await asyncio.sleep(REOPEN_S)


async def _follow(stub: "rpc.IamServiceAsyncStub", signer: Signer, identity: Identity) -> None:
    try:
        metadata = ((METADATA_KEY, signer.sign(SELF)),)
        async for snapshot in stub.WatchAccess(pb.WatchAccessRequest(), metadata=metadata):
            identity.replace(access_from_pb(snapshot))
            log.info("keys: %d, grants: %d", len(snapshot.keys), len(snapshot.grants))
    except grpc.aio.AioRpcError as error:
        log.warning("keys and grants cannot be watched: %s %s", error.code().name, error.details())


def access_from_pb(snapshot: pb.WatchAccessResponse) -> Access:
    roles: dict[str, dict[str, Role]] = {}
    for grant in snapshot.grants:
        if grant.role in _KNOWN_ROLES:  # a newer catalog may know roles that mean nothing here yet
            roles.setdefault(grant.subject, {})[grant.namespace] = Role(grant.role)
    keys = [_key_from_pb(state) for state in snapshot.keys]
    return Access({key.id: key for key in keys}, {s: Principal(s, held) for s, held in roles.items()})


def _key_from_pb(state: pb.KeyState) -> Key:
    return Key(
        id=state.name.removeprefix("key_"),
        secret_sha256=state.secret_sha256,
        subject=state.subject,
        expires=state.expire_time.ToMilliseconds() / 1000 if state.HasField("expire_time") else None,
        revoked=state.revoke_time.ToMilliseconds() / 1000 if state.HasField("revoke_time") else None,
    )
