"""boto3, behind types: signs URLs, lists, makes buckets. The one module where its untyped values may stand.

Bytes do not pass through here: blobs_s3 moves them itself, over the URLs that this signs.
"""

# boto3 has no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false

import base64
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from zoo_store.blobs import BlobInfo, S3Credentials, SignedPut, storage_unavailable

__all__ = ["S3Client", "S3Settings"]

Operation = Literal["get_object", "put_object", "head_object", "delete_object"]

DEFAULT_REGION = "us-east-1"  # also the one that CreateBucket must not name

_URL_FORM = "s3://bucket/prefix?endpoint=URL&region=NAME&addressing=path|virtual&checksum=when_required|when_supported"
_ADDRESSING = ("path", "virtual")
_CHECKSUM = ("when_required", "when_supported")


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Where the store is and how it likes to be asked: `s3://bucket/prefix?endpoint=&region=&addressing=&checksum=`.

    Without `endpoint` it is AWS. `addressing` is `path` (the default with an endpoint) or `virtual` (the default
    without); `checksum` is `when_required` (the default: lookalikes stumble over more) or `when_supported`.
    Signatures are always version 4.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str = DEFAULT_REGION
    addressing: str = "path"
    checksum: str = "when_required"
    connect_timeout_s: float = 3.0
    read_timeout_s: float = 10.0
    answer_timeout_s: float = 60.0
    connections: int = 32

    @classmethod
    def from_url(cls, url: str) -> "S3Settings":
        """ValueError for anything that is not of the form above."""
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        endpoint = options.pop("endpoint", None)
        settings = cls(
            bucket=parts.netloc,
            prefix=parts.path.strip("/"),
            endpoint=endpoint,
            region=options.pop("region", DEFAULT_REGION),
            addressing=options.pop("addressing", "path" if endpoint else "virtual"),
            checksum=options.pop("checksum", _CHECKSUM[0]),
        )
        known = settings.addressing in _ADDRESSING and settings.checksum in _CHECKSUM and not options
        if parts.scheme != "s3" or not parts.netloc or not known:
            raise ValueError(f"an S3 URL is {_URL_FORM}, not {url!r}")
        return settings


class S3Client:
    """One bucket, as boto3 sees it. Methods block; errors are Unavailable STORAGE_UNAVAILABLE."""

    def __init__(self, settings: S3Settings, credentials: S3Credentials) -> None:
        self.bucket = settings.bucket
        self._client: Any = boto3.session.Session().client(
            "s3",
            endpoint_url=settings.endpoint,
            region_name=settings.region,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": settings.addressing},
                request_checksum_calculation=settings.checksum,
                response_checksum_validation=settings.checksum,
                connect_timeout=settings.connect_timeout_s,
                read_timeout=settings.read_timeout_s,
                retries={"total_max_attempts": 1},
            ),
        )

    def sign(self, operation: Operation, key: str, expires_s: int) -> str:
        """A URL that does `operation` for `expires_s`."""
        parameters = {"Bucket": self.bucket, "Key": key}
        return str(self._client.generate_presigned_url(operation, Params=parameters, ExpiresIn=expires_s))

    def sign_put(self, key: str, size_bytes: int, sha256: str, expires_s: int) -> SignedPut:
        """A PUT of so many bytes with that SHA-256, where there is nothing under the key. All of it is signed."""
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        parameters = {
            "Bucket": self.bucket,
            "Key": key,
            "ContentLength": size_bytes,
            "ChecksumSHA256": checksum,
            "IfNoneMatch": "*",
        }
        url = str(self._client.generate_presigned_url("put_object", Params=parameters, ExpiresIn=expires_s))
        headers = {"Content-Length": str(size_bytes), "x-amz-checksum-sha256": checksum, "If-None-Match": "*"}
        return SignedPut(url, headers)

    def sign_checked_put(self, key: str, sha256: bytes, expires_s: int) -> SignedPut:
        """A PUT of bytes with that SHA-256, whatever there is under the key."""
        checksum = base64.b64encode(sha256).decode()
        parameters = {"Bucket": self.bucket, "Key": key, "ChecksumSHA256": checksum}
        url = str(self._client.generate_presigned_url("put_object", Params=parameters, ExpiresIn=expires_s))
        return SignedPut(url, {"x-amz-checksum-sha256": checksum})

    def delete(self, key: str) -> None:
        with _translated("deleting"):
            self._client.delete_object(Bucket=self.bucket, Key=key)

    def ensure_bucket(self) -> None:
        """Make the bucket unless it is there; harmless if several do it at once."""
        with _translated("looking for the bucket"):
            try:
                self._client.head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if _status(error) != 404:
                    raise
                self._create_bucket()

    def _create_bucket(self) -> None:
        region = self._client.meta.region_name
        elsewhere = {} if region == DEFAULT_REGION else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            self._client.create_bucket(Bucket=self.bucket, **elsewhere)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise

    def list_pages(self, prefix: str) -> Iterator[list[BlobInfo]]:
        """Pages of up to 1,000 objects; their keys as the bucket has them."""
        with _translated("listing"):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                yield [_info(entry) for entry in page.get("Contents", [])]

    def close(self) -> None:
        self._client.close()


def _info(entry: dict[str, Any]) -> BlobInfo:
    modified: datetime = entry["LastModified"]
    return BlobInfo(entry["Key"], entry["Size"], modified)


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


@contextmanager
def _translated(doing: str) -> Generator[None]:
    try:
        yield
    except ClientError as error:
        # The code alone: messages name hosts and keys.
        raise storage_unavailable(f"answered {error.response['Error']['Code']} when {doing}") from error
    except BotoCoreError as error:
        raise storage_unavailable(f"failed when {doing} ({type(error).__name__})") from error
