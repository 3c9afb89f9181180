"""The artifact service's tables: an index of what lies in the object store. Namespaces are kept in lower case.

    blobs ─< namespace_blobs          who may use a blob without sending it
      └──< manifest_blobs >─┐         which manifests name a blob
    manifests ──────────────┘
      └──< namespace_manifests        who may read a manifest
                   └─< pins           who keeps it from being swept
    quarantines                       whose bytes go to admins alone, visible or not
    namespace_policies                what a namespace takes
    upkeep (one row), holders         whether may be swept

`blobs.reference_count` is the number of the blob's rows in manifest_blobs. Times are stamped by the database. A row in
the state `deleting` is on its way out with its object: whoever would use it waits until it is gone.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    false,
)

from zoo_store.sql import UtcTime

__all__ = [
    "DELETING",
    "STORED",
    "STORING",
    "blobs",
    "holders",
    "manifest_blobs",
    "manifests",
    "metadata",
    "namespace_blobs",
    "namespace_manifests",
    "namespace_policies",
    "pins",
    "quarantines",
    "upkeep",
]

DIGEST_LENGTH = 64
NAMESPACE_LENGTH = 96
SUBJECT_LENGTH = 128
HOLDER_LENGTH = 256
ID_LENGTH = 32
STATE_LENGTH = 8
STORING, STORED, DELETING = "storing", "stored", "deleting"

metadata = MetaData()

blobs = Table(
    "blobs",
    metadata,
    Column("digest", String(DIGEST_LENGTH), primary_key=True),
    Column("size_bytes", Integer, nullable=False),
    # storing (somebody began to: it counts as missing) | stored | damaged (a reader found it so: it counts as missing
    # until it is sent again) | deleting
    Column("state", String(STATE_LENGTH), nullable=False),
    Column("reference_count", Integer, nullable=False),
    # When somebody last began to send it, sent it, or asked whether it is there.
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
    # storing (somebody began to put it) | stored | deleting
    Column("state", String(STATE_LENGTH), nullable=False),
    # When somebody last began to put it or put it, in whatever namespace.
    Column("touch_time", UtcTime, nullable=False),
)

manifest_blobs = Table(
    "manifest_blobs",
    metadata,
    Column("manifest", String(DIGEST_LENGTH), ForeignKey("manifests.digest"), nullable=False),
    Column("blob", String(DIGEST_LENGTH), ForeignKey("blobs.digest"), nullable=False),
    PrimaryKeyConstraint("manifest", "blob"),
    Index("manifest_blobs_by_blob", "blob"),
)

namespace_manifests = Table(
    "namespace_manifests",
    metadata,
    Column("namespace", String(NAMESPACE_LENGTH), nullable=False),
    Column("digest", String(DIGEST_LENGTH), ForeignKey("manifests.digest"), nullable=False),
    # stored (it is visible) | deleting
    Column("state", String(STATE_LENGTH), nullable=False),
    PrimaryKeyConstraint("namespace", "digest"),
    Index("namespace_manifests_by_digest", "digest"),
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

upkeep = Table(
    "upkeep",
    metadata,
    # 1: the only row.
    Column("id", Integer, primary_key=True),
    # Another one whenever the index is made anew.
    Column("index_id", String(ID_LENGTH), nullable=False),
    Column("frozen", Boolean, nullable=False),
    Column("freeze_reason", Text, nullable=False),
    # The index does not know yet all that lies in the bucket.
    Column("rebuilding", Boolean, nullable=False),
    # Holders have not confirmed their pins since.
    Column("waiting", Boolean, nullable=False),
    # Restored from a backup, and no check of every byte has found everything in agreement since.
    Column("unchecked", Boolean, nullable=False, server_default=false()),
    # Who sweeps or rebuilds now, and until when it may, unless it says so again. Null: nobody.
    Column("lease_owner", String(ID_LENGTH)),
    Column("lease_expire_time", UtcTime),
    # When the last of each came to its end. Null: never.
    Column("sweep_time", UtcTime),
    Column("scrub_time", UtcTime),
)

holders = Table(
    "holders",
    metadata,
    Column("subject", String(SUBJECT_LENGTH), primary_key=True),
    # The index in which it last had everything pinned.
    Column("index_id", String(ID_LENGTH), nullable=False),
    Column("confirm_time", UtcTime, nullable=False),
)

# It outlives the manifest: who pushes the same files again is refused.
quarantines = Table(
    "quarantines",
    metadata,
    Column("namespace", String(NAMESPACE_LENGTH), nullable=False),
    Column("digest", String(DIGEST_LENGTH), nullable=False),
    Column("reason", Text, nullable=False),
    Column("subject", String(SUBJECT_LENGTH), nullable=False),
    Column("create_time", UtcTime, nullable=False),
    PrimaryKeyConstraint("namespace", "digest"),
)

namespace_policies = Table(
    "namespace_policies",
    metadata,
    Column("namespace", String(NAMESPACE_LENGTH), primary_key=True),
    Column("allow_opaque", Boolean, nullable=False),
)
