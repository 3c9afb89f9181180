"""A catalog's IamService in the test's own process: keys and grants that a test changes at will."""

import base64
import hashlib
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

from zoo.iam.v1 import iam_service_pb2 as pb
from zoo.iam.v1 import iam_service_pb2_grpc as rpc
from zoo.iam.v1 import key_pb2
from zoo_server.principal import METADATA_KEY, Role, Verifier


class ToyIam(rpc.IamServiceServicer):
    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._changed = threading.Condition()
        self._number = 0
        self._state = pb.WatchAccessResponse()
        self.seen: list[dict[str, str]] = []
        """Metadata of the calls that reached it."""

    def make_key(self, subject: str, **roles: Role) -> str:
        """A new key of the subject, which gets these roles by namespace."""
        digits = secrets.token_hex(8)
        secret = f"zoo_{digits}_{base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b'=').decode()}"
        with self._changed:
            digest = hashlib.sha256(secret.encode()).digest()
            self._state.keys.add(name=f"key_{digits}", secret_sha256=digest, subject=subject)
            for namespace, role in roles.items():
                self._state.grants.add(subject=subject, namespace=namespace, role=key_pb2.Role.ValueType(role))
            self._publish()
        return secret

    def revoke(self, secret: str) -> None:
        with self._changed:
            for key in self._state.keys:
                if key.name == f"key_{secret[4:20]}":
                    key.revoke_time.GetCurrentTime()
            self._publish()

    def _publish(self) -> None:
        self._number += 1
        self._changed.notify_all()

    def WatchAccess(self, request, context):
        self._verifier.verify(dict(context.invocation_metadata())[METADATA_KEY])
        sent = -1
        while context.is_active():
            with self._changed:
                # Looks up from time to time, so that a gateway that has gone frees this thread.
                if self._number == sent and not self._changed.wait(timeout=0.5):
                    continue
                sent, snapshot = self._number, pb.WatchAccessResponse()
                snapshot.CopyFrom(self._state)
            yield snapshot

    def GetPrincipal(self, request, context):
        metadata = dict(context.invocation_metadata())
        self.seen.append({k: v for k, v in metadata.items() if isinstance(v, str)})
        principal = self._verifier.verify(metadata[METADATA_KEY])
        return pb.GetPrincipalResponse(subject=principal.subject, roles={n: int(r) for n, r in principal.roles.items()})


class ToyCatalog:
    """The server around a ToyIam, on a port that stays the same over `stop` and `start`."""

    def __init__(self, iam: ToyIam) -> None:
        self.iam = iam
        self.port = 0
        self._server: grpc.Server | None = None

    def start(self) -> None:
        self._server = grpc.server(ThreadPoolExecutor(16))
        rpc.add_IamServiceServicer_to_server(self.iam, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(None).wait()
            self._server = None


@contextmanager
def toy_catalog(verifier: Verifier) -> Iterator[ToyCatalog]:
    catalog = ToyCatalog(ToyIam(verifier))
    catalog.start()
    try:
        yield catalog
    finally:
        catalog.stop()
