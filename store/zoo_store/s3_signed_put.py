"""Whether a store holds the holder of a signed PUT to what was signed. Asked at start: some stores ignore it.

A URL for a PUT leaves this process, so its limits are worth what the store makes of them. Nothing is signed for a store
that fails one of these.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping

import urllib3

from zoo_store.blobs import SignedPut
from zoo_store.s3_client import S3Client

__all__ = ["holds_puts_to_their_signature"]

RIGHT, WRONG, FIRST = b"zoo-probe-right", b"zoo-probe-wrong", b"zoo-probe-first"
EXPIRES_S = 300
# Refusals: the signature (403), the digest (400), a length (400, 411), a condition that does not hold (409, 412).
REFUSED = frozenset({400, 403, 409, 411, 412, 501})


def holds_puts_to_their_signature(
    client: S3Client,
    pool: urllib3.PoolManager,
    key: str,
    put: Callable[[bytes], None],
    get: Callable[[], bytes],
) -> bool:
    """Whether the store takes the right bytes once, and neither other bytes, other lengths, more orders nor a second
    PUT. `put` and `get` write and read `key` by other means; the caller deletes it afterwards.

    Raises what `put` and `get` raise, and urllib3's HTTPError.
    """

    def send(body: bytes | Iterator[bytes], size: int = len(RIGHT), **more: str) -> int:
        signed = client.sign_put(key, len(RIGHT), hashlib.sha256(RIGHT).hexdigest(), EXPIRES_S)
        return _send(pool, signed, body, size, {name.replace("_", "-"): value for name, value in more.items()})

    refused = [
        send(WRONG),
        send(RIGHT + b"!", len(RIGHT) + 1),
        send(RIGHT[:-1], len(RIGHT) - 1),
        # Orders that were not signed, and would make other bytes of it.
        send(RIGHT, x_amz_copy_source=f"/{client.bucket}/{key}"),
        send(RIGHT, x_amz_content_sha256="STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
    ]
    if not REFUSED.issuperset(refused) or send(RIGHT) != 200 or get() != RIGHT:
        return False
    if not REFUSED.issuperset([send(RIGHT), send(WRONG)]) or get() != RIGHT:
        return False
    client.delete(key)

    def overtaken() -> Iterator[bytes]:
        # The condition must hold when the PUT ends: between its beginning and its end others write.
        yield RIGHT[:5]
        put(FIRST)
        yield RIGHT[5:]

    return send(overtaken()) in REFUSED and get() == FIRST


def _send(
    pool: urllib3.PoolManager, signed: SignedPut, body: bytes | Iterator[bytes], size: int, more: Mapping[str, str]
) -> int:
    headers = {**signed.headers, "Content-Length": str(size), **more}
    return pool.request("PUT", signed.url, body=body, headers=headers, redirect=False).status
