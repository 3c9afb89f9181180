"""Keys, grants, who the caller is, and requests for gated models."""

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime

import grpc

from modelzoo import records, wire
from modelzoo.calls import building, paged, translated
from modelzoo.reference import parse
from zoo.catalog.v1 import access_request_pb2
from zoo.catalog.v1 import access_service_pb2 as access_pb
from zoo.catalog.v1 import access_service_pb2_grpc as access_rpc
from zoo.iam.v1 import iam_service_pb2 as pb
from zoo.iam.v1 import iam_service_pb2_grpc as rpc
from zoo.iam.v1 import key_pb2

__all__ = ["Access"]


class Access:
    """Who may do what. Changes reach the gateway within a second."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = rpc.IamServiceStub(channel)
        self._gates = access_rpc.AccessServiceStub(channel)

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

    # Gated models

    def request_model(self, ref: str, reason: str = "") -> records.AccessRequest:
        """Ask for access to a gated model, for the subject of the key; MODEL_NOT_GATED where nothing need be asked."""
        with building():
            request = access_pb.RequestAccessRequest(model=parse(ref).model, reason=reason)
        with translated():
            return wire.access_request(self._gates.RequestAccess(request).access_request)

    def model_requests(self, ref: str = "", state: str = "") -> Iterator[records.AccessRequest]:
        """The caller's own requests and those that it may decide; of one model or in one state, if given."""
        model = parse(ref).model if ref else ""
        with building():
            wanted = access_request_pb2.AccessState.Value(f"ACCESS_STATE_{state.upper() or 'UNSPECIFIED'}")

        def fetch(token: str) -> tuple[Sequence[records.AccessRequest], str]:
            request = access_pb.ListAccessRequestsRequest(model=model, state=wanted, page_token=token)
            page = self._gates.ListAccessRequests(request)
            return [wire.access_request(each) for each in page.access_requests], page.next_page_token

        return paged(fetch)

    def decide_model_request(
        self, ref: str, subject: str, decision: str, reason: str = "", *, etag: str = ""
    ) -> records.AccessRequest:
        """Make a request APPROVED or DENIED, or an approved one REVOKED; for publishers of the namespace."""
        with building():
            request = access_pb.DecideAccessRequest(
                model=parse(ref).model,
                subject=subject,
                decision=access_request_pb2.AccessState.Value(f"ACCESS_STATE_{decision.upper()}"),
                reason=reason,
                etag=etag,
            )
        with translated():
            return wire.access_request(self._gates.DecideAccess(request).access_request)
