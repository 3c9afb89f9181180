"""The artifact service's tables: an index of what lies in the object store. Namespaces are kept in lower case.

    blobs ─< namespace_blobs          who may use a blob without sending it
    manifests ─< namespace_manifests  who may read a manifest
                        └─< pins      who keeps it from being swept

`blobs.reference_count` counts the manifests that name the blob. Times are stamped by the database.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
)

from zoo_store.sql import UtcTime

__all__ = ["blobs", "manifests", "metadata", "namespace_blobs", "namespace_manifests", "pins"]

DIGEST_LENGTH = 64
NAMESPACE_LENGTH = 96
SUBJECT_LENGTH = 128
HOLDER_LENGTH = 256

metadata = MetaData()

blobs = Table(
    "blobs",
    metadata,
    Column("digest", String(DIGEST_LENGTH), primary_key=True),
    Column("size_bytes", Integer, nullable=False),
    # stored | damaged (a reader found it so: it counts as missing until it is sent again) | deleting (being swept)
    Column("state", String(8), nullable=False),
    Column("reference_count", Integer, nullable=False),
    # When somebody last sent it or asked whether it is there.
    Column("touch_time", UtcTime, nullable=False),
)

namespace_blobs = Table(
    "namespace_blobs",
    metadata,
    Column("namespace", String(NAMESPACE_LENGTH), nullable=False),
    Column("digest", String(DIGEST_LENGTH), ForeignKey("blobs.digest"), nullable=False),
    PrimaryKeyConstraint("namespace", "digest"),
)

manifests = Table(
    "manifests",
    metadata,
    Column("digest", String(DIGEST_LENGTH), primary_key=True),
    # The sum of its files' sizes.
    Column("size_bytes", BigInteger, nullable=False),
    Column("create_time", UtcTime, nullable=False),
)

namespace_manifests = Table(
    "namespace_manifests",
    metadata,
    Column("namespace", String(NAMESPACE_LENGTH), nullable=False),
    Column("digest", String(DIGEST_LENGTH), ForeignKey("manifests.digest"), nullable=False),
    PrimaryKeyConstraint("namespace", "digest"),
)

pins = Table(
    "pins",
    metadata,
    Column("namespace", String(NAMESPACE_LENGTH), nullable=False),
    Column("digest", String(DIGEST_LENGTH), nullable=False),
    # Who pinned, so that nobody can end another's pin.
    Column("subject", String(SUBJECT_LENGTH), nullable=False),
    Column("holder", String(HOLDER_LENGTH), nullable=False),
    # Null: never.
    Column("expire_time", UtcTime),
    PrimaryKeyConstraint("namespace", "digest", "subject", "holder"),
    ForeignKeyConstraint(["namespace", "digest"], ["namespace_manifests.namespace", "namespace_manifests.digest"]),
)
