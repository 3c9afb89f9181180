"""zoo.catalog.v1.SignatureService."""

from typing import Any

import grpc

from modelzoo.signing.keys import PublicKey
from zoo.catalog.v1 import signature_pb2
from zoo.catalog.v1 import signature_service_pb2 as pb
from zoo.catalog.v1 import signature_service_pb2_grpc as rpc
from zoo_catalog.signatures import Signature, Signatures
from zoo_catalog.signers import Signer, Signers, SigningPolicy
from zoo_catalog.times import time_to_pb
from zoo_server.call import current_principal

__all__ = ["SignatureServicer"]

Context = grpc.aio.ServicerContext[Any, Any]


class SignatureServicer(rpc.SignatureServiceServicer):
    def __init__(self, signatures: Signatures, signers: Signers) -> None:
        self._signatures = signatures
        self._signers = signers

    async def AddSignature(self, request: pb.AddSignatureRequest, context: Context) -> pb.AddSignatureResponse:
        added = await self._signatures.add(request.reference, request.bundle, request.public_key, current_principal())
        return pb.AddSignatureResponse(signature=signature_to_pb(added))

    async def ListSignatures(self, request: pb.ListSignaturesRequest, context: Context) -> pb.ListSignaturesResponse:
        found = await self._signatures.list(request.reference, current_principal())
        return pb.ListSignaturesResponse(signatures=map(signature_to_pb, found))

    async def SetTrustedSigners(
        self, request: pb.SetTrustedSignersRequest, context: Context
    ) -> pb.SetTrustedSignersResponse:
        policy = await self._signers.set(request.namespace, policy_from_pb(request), current_principal().subject)
        return pb.SetTrustedSignersResponse(
            signers=map(signer_to_pb, policy.signers), require_signatures=policy.is_required, etag=policy.etag
        )

    async def ListTrustedSigners(
        self, request: pb.ListTrustedSignersRequest, context: Context
    ) -> pb.ListTrustedSignersResponse:
        policy = await self._signers.get(request.namespace)
        return pb.ListTrustedSignersResponse(
            signers=map(signer_to_pb, policy.signers), require_signatures=policy.is_required, etag=policy.etag
        )


def signature_to_pb(signature: Signature) -> signature_pb2.Signature:
    return signature_pb2.Signature(
        key_id=signature.key_id,
        public_key=signature.public_key,
        bundle=signature.bundle,
        create_time=time_to_pb(signature.create_time),
        creator=signature.creator,
        trusted_as=signature.trusted_as,
    )


def signer_to_pb(signer: Signer) -> signature_pb2.TrustedSigner:
    return signature_pb2.TrustedSigner(
        name=signer.name, public_key=signer.public_key.pem, key_id=signer.public_key.key_id
    )


def policy_from_pb(request: pb.SetTrustedSignersRequest) -> SigningPolicy:
    signers = [Signer(signer.name, PublicKey.from_pem(signer.public_key)) for signer in request.signers]
    return SigningPolicy(tuple(signers), request.require_signatures, request.etag)
