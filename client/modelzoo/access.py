"""Keys, grants, and who the caller is: the part of the client for administrators."""

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime

import grpc

from modelzoo import records, wire
from modelzoo.calls import building, paged, translated
from zoo.iam.v1 import iam_service_pb2 as pb
from zoo.iam.v1 import iam_service_pb2_grpc as rpc
from zoo.iam.v1 import key_pb2

__all__ = ["Access"]


class Access:
    """Who may do what. Changes reach the gateway within a second."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = rpc.IamServiceStub(channel)

    def whoami(self) -> records.Principal:
        """Whom the key stands for, and its roles."""
        with translated():
            return wire.principal(self._stub.GetPrincipal(pb.GetPrincipalRequest()))

    def create_key(self, subject: str, *, description: str = "", expire_time: datetime | None = None) -> records.NewKey:
        """A new key for the subject, with its secret, which cannot be read again."""
        with building():
            key = key_pb2.Key(subject=subject, description=description, expire_time=wire.to_timestamp(expire_time))
            request = pb.CreateKeyRequest(key=key, request_id=uuid.uuid4().hex)
        with translated():
            return wire.new_key(self._stub.CreateKey(request))

    def keys(self) -> Iterator[records.Key]:
        """Every key, newest first, revoked ones too."""

        def fetch(token: str) -> tuple[Sequence[records.Key], str]:
            page = self._stub.ListKeys(pb.ListKeysRequest(page_token=token))
            return [wire.key(key) for key in page.keys], page.next_page_token

        return paged(fetch)

    def revoke_key(self, name: str) -> records.Key:
        """Make the key `key_...` stop working for good. Revoking again changes nothing."""
        with building():
            request = pb.RevokeKeyRequest(name=name)
        with translated():
            return wire.key(self._stub.RevokeKey(request).key)

    def create_grant(self, subject: str, namespace: str, role: str) -> records.Grant:
        """Give the subject a role in a namespace (`*`: the cluster), in place of the one it had there."""
        with building():
            grant = key_pb2.Grant(subject=subject, namespace=namespace, role=wire.role_to_pb(role))
            request = pb.CreateGrantRequest(grant=grant)
        with translated():
            return wire.grant(self._stub.CreateGrant(request).grant)

    def grants(self, namespace: str) -> Iterator[records.Grant]:
        """The namespace's grants, by subject."""

        def fetch(token: str) -> tuple[Sequence[records.Grant], str]:
            page = self._stub.ListGrants(pb.ListGrantsRequest(namespace=namespace, page_token=token))
            return [wire.grant(grant) for grant in page.grants], page.next_page_token

        return paged(fetch)

    def revoke_grant(self, subject: str, namespace: str) -> None:
        """Take the subject's role in the namespace away."""
        with building():
            request = pb.RevokeGrantRequest(namespace=namespace, subject=subject)
        with translated():
            self._stub.RevokeGrant(request)
