"""Which versions a worker runs where a namespace requires signatures: it verifies them itself, before it loads.

The catalog says whom a namespace trusts and keeps the signatures; whether one holds, for the very manifest that will be
pulled and with the key that is trusted, is computed here.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from modelzoo.errors import FailedPrecondition, ZooError
from modelzoo.manifest import Manifest
from modelzoo.pull import get_manifest
from modelzoo.signing.bundle import Bundle, sha256_of
from modelzoo.signing.keys import PublicKey
from zoo.catalog.v1 import signature_service_pb2 as pb
from zoo.catalog.v1 import signature_service_pb2_grpc as rpc
from zoo_inference.catalog import TIMEOUT_S, Catalog, Version, translate
from zoo_inference.freshness import FRESH_S
from zoo_server.call import remaining_s

__all__ = ["GrpcSignatures", "Signature", "Signatures", "SignedCatalog", "SigningPolicy"]

REMEMBERED_MOST = 4096


@dataclass(frozen=True, slots=True)
class SigningPolicy:
    """PEM of the keys that a namespace trusts, and whether it requires a signature. `etag` changes with any of it."""

    keys: tuple[str, ...]
    is_required: bool
    etag: str


@dataclass(frozen=True, slots=True)
class Signature:
    """A bundle, and the id of the key that it is said to be made with."""

    key_id: str
    bundle: bytes


class Signatures(Protocol):
    """What signatures are verified from. Raises Unavailable, DeadlineExceeded where a service does not answer."""

    async def policy(self, namespace: str) -> SigningPolicy:
        """What the namespace says now."""
        ...

    async def of(self, version: Version) -> Sequence[Signature]:
        """What is kept beside the version."""
        ...

    async def manifest(self, version: Version) -> Manifest:
        """The manifest of the version's digest, and no other."""
        ...


class SignedCatalog:
    """A catalog that answers only versions whose signature holds, where their namespace requires one; of an adapter,
    its own and its base's, each as its own namespace says."""

    def __init__(self, catalog: Catalog, signatures: Signatures, clock: Callable[[], float] = time.monotonic) -> None:
        self._catalog = catalog
        self._signatures = signatures
        self._clock = clock
        self._policies: OrderedDict[str, tuple[float, SigningPolicy]] = OrderedDict()
        # Of what held, the digest and under which policy: neither changes.
        self._held: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    async def version(self, reference: str) -> Version:
        """As the catalog's. Raises SIGNATURE_REQUIRED, SIGNATURE_INVALID, too."""
        version = await self._catalog.version(reference)
        for part in version.parts:
            await self._check(part)
        return version

    async def _check(self, version: Version) -> None:
        policy = await self._policy(version.namespace)
        proof = (version.namespace.casefold(), version.manifest_digest, policy.etag)
        if policy.is_required and proof not in self._held:
            await self._verify(version, policy)
            self._held[proof] = None
            _forget(self._held)

    async def refusal(self, model: str, subject: str) -> str | None:
        """As the catalog's."""
        return await self._catalog.refusal(model, subject)

    async def _policy(self, namespace: str) -> SigningPolicy:
        key = namespace.casefold()
        known = self._policies.get(key)
        if known is not None and self._clock() - known[0] < FRESH_S:
            return known[1]
        policy = await self._signatures.policy(namespace)
        self._policies[key] = (self._clock(), policy)
        _forget(self._policies)
        return policy

    async def _verify(self, version: Version, policy: SigningPolicy) -> None:
        trusted = {key.key_id: key for key in map(PublicKey.from_pem, policy.keys)}
        found = [each for each in await self._signatures.of(version) if each.key_id in trusted]
        if not found:
            raise FailedPrecondition(
                "SIGNATURE_REQUIRED",
                f"{version.reference} has no signature by a signer that its namespace trusts, and may not be run: "
                "`zoo sign` makes one",
                metadata={"reference": version.reference},
            )
        files = sha256_of(await self._signatures.manifest(version))
        fault: ZooError | None = None
        for each in found:
            try:
                # Thousands of files may be listed.
                await asyncio.to_thread(_check_bundle, each.bundle, files, trusted[each.key_id])
            except FailedPrecondition as error:
                fault = error
            else:
                return
        raise FailedPrecondition(
            "SIGNATURE_INVALID",
            f"{version.reference} may not be run. {fault.message if fault else ''}",
            metadata={"reference": version.reference},
        )


class GrpcSignatures:
    """The catalog and the artifact service, asked in the worker's own name."""

    def __init__(self, catalog: grpc.aio.Channel, artifact: grpc.Channel) -> None:
        self._stub = rpc.SignatureServiceStub(catalog)
        self._artifact = artifact

    async def policy(self, namespace: str) -> SigningPolicy:
        request = pb.ListTrustedSignersRequest(namespace=namespace)
        try:
            answer = await self._stub.ListTrustedSigners(request, timeout=remaining_s(TIMEOUT_S))
        except grpc.aio.AioRpcError as error:
            raise translate(error) from error
        keys = tuple(signer.public_key for signer in answer.signers)
        return SigningPolicy(keys, answer.require_signatures, answer.etag)

    async def of(self, version: Version) -> Sequence[Signature]:
        request = pb.ListSignaturesRequest(reference=version.reference)
        try:
            answer = await self._stub.ListSignatures(request, timeout=remaining_s(TIMEOUT_S))
        except grpc.aio.AioRpcError as error:
            raise translate(error) from error
        return [Signature(each.key_id, each.bundle) for each in answer.signatures]

    async def manifest(self, version: Version) -> Manifest:
        return await asyncio.to_thread(get_manifest, self._artifact, version.namespace, version.manifest_digest)


def _check_bundle(bundle: bytes, files: dict[str, str], key: PublicKey) -> None:
    Bundle.from_bytes(bundle).check(files, key)


def _forget(remembered: OrderedDict[Any, Any]) -> None:
    while len(remembered) > REMEMBERED_MOST:
        remembered.popitem(last=False)
