"""Signatures of versions and the signers that namespaces trust: the part of the client for them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import grpc

from modelzoo.calls import building, translated
from zoo.catalog.v1 import signature_pb2
from zoo.catalog.v1 import signature_service_pb2 as pb
from zoo.catalog.v1 import signature_service_pb2_grpc as rpc

__all__ = ["Signature", "Signatures", "SigningPolicy", "TrustedSigner"]


@dataclass(frozen=True, slots=True)
class Signature:
    """What is kept beside a version: `bundle` is JSON in the form of OpenSSF Model Signing.

    `key_id` is the SHA-256 of the key's DER form, `trusted_as` what the namespace calls it, '' where it trusts it not.
    """

    key_id: str
    public_key: str
    bundle: bytes
    creator: str
    create_time: datetime
    trusted_as: str


@dataclass(frozen=True, slots=True)
class TrustedSigner:
    """A public key (PEM) and what the namespace calls it; `key_id` is set by the zoo."""

    name: str
    public_key: str
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class SigningPolicy:
    """Whom a namespace trusts, and whether versions need a signature by one of them to be served."""

    signers: tuple[TrustedSigner, ...]
    require_signatures: bool
    etag: str


class Signatures:
    """The zoo verifies what it keeps; `modelzoo.signing` verifies here, which is what proves something to you."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = rpc.SignatureServiceStub(channel)

    def add(self, ref: str, bundle: bytes, public_key: str) -> Signature:
        """Store a signature beside the version. SIGNATURE_INVALID where it does not hold for its files and this key."""
        with building():
            request = pb.AddSignatureRequest(reference=ref, bundle=bundle, public_key=public_key)
        with translated():
            return _signature(self._stub.AddSignature(request).signature)

    def list(self, ref: str) -> list[Signature]:
        """The version's signatures."""
        with translated():
            response = self._stub.ListSignatures(pb.ListSignaturesRequest(reference=ref))
        return [_signature(signature) for signature in response.signatures]

    def policy(self, namespace: str) -> SigningPolicy:
        """Whom the namespace trusts."""
        with translated():
            return _policy(self._stub.ListTrustedSigners(pb.ListTrustedSignersRequest(namespace=namespace)))

    def set_policy(
        self,
        namespace: str,
        signers: Iterable[TrustedSigner],
        *,
        require_signatures: bool = False,
        etag: str = "",
    ) -> SigningPolicy:
        """Trust these signers and no others. With `etag`, only if it is still the namespace's; else ETAG_MISMATCH."""
        with building():
            request = pb.SetTrustedSignersRequest(
                namespace=namespace,
                signers=[signature_pb2.TrustedSigner(name=each.name, public_key=each.public_key) for each in signers],
                require_signatures=require_signatures,
                etag=etag,
            )
        with translated():
            return _policy(self._stub.SetTrustedSigners(request))


def _signature(message: signature_pb2.Signature) -> Signature:
    return Signature(
        key_id=message.key_id,
        public_key=message.public_key,
        bundle=message.bundle,
        creator=message.creator,
        create_time=message.create_time.ToDatetime(UTC),
        trusted_as=message.trusted_as,
    )


def _policy(message: pb.ListTrustedSignersResponse | pb.SetTrustedSignersResponse) -> SigningPolicy:
    signers = tuple(TrustedSigner(each.name, each.public_key, each.key_id) for each in message.signers)
    return SigningPolicy(signers, message.require_signatures, message.etag)
