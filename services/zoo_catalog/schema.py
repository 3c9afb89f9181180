"""The catalog's tables. `key` columns hold names case-folded, so that names are unique without regard to case.

    namespaces ─< models ─< versions ─ cards
                        ├─< model_tags (the tags again, one a row, to find models by)
                        ├─< version_labels, version_metrics (the same of versions' labels and metrics)
                        ├─< aliases ─< alias_targets >─ versions
                        └─< access_requests (of subjects)
    versions ─< signatures      namespaces ─< trusted_signers, signing_policies
    edges: version >─< version      keys, grants (of subjects)      requests (what request ids were used for)
    changes (everything, in order)

A write's times and etag are the time and sequence of its row in `changes`, stamped by the database. Rows with a
`delete_time` are gone for users, and keep their names reserved; until `purge_time` they can be undeleted, and once they
are `purged` never again. `released`: what a purged version pinned, were it the last to do so, is let go of. JSON
columns hold records of a dataclass.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    false,
)

from zoo_store.sql import UtcTime
from zoo_store.text_index import TextIndex

__all__ = [
    "access_requests",
    "alias_targets",
    "aliases",
    "cards",
    "changes",
    "edges",
    "grants",
    "keys",
    "metadata",
    "model_tags",
    "model_text",
    "models",
    "namespaces",
    "requests",
    "signatures",
    "signing_policies",
    "trusted_signers",
    "version_labels",
    "version_metrics",
    "versions",
]

NAME_LENGTH = 96
MODEL_NAME_LENGTH = 2 * NAME_LENGTH + 1
SUBJECT_LENGTH = 128
SHA256_HEX_LENGTH = 64
# `namespace/name@alias` or `namespace:subject`.
RESOURCE_LENGTH = 512

metadata = MetaData()

namespaces = Table(
    "namespaces",
    metadata,
    Column("key", String(NAME_LENGTH), primary_key=True),
    Column("name", String(NAME_LENGTH), nullable=False),
    Column("description", Text, nullable=False),
    Column("create_time", UtcTime, nullable=False),
    Column("delete_time", UtcTime),
    Column("update_time", UtcTime, nullable=False, server_default="0"),
    Column("etag", BigInteger, nullable=False, server_default="0"),
    Column("policy", JSON, nullable=False, server_default="{}"),
    Column("quota_bytes", BigInteger, nullable=False, server_default="0"),
)

models = Table(
    "models",
    metadata,
    Column("id", Integer, primary_key=True),
    # `namespace/name`, case-folded, so that one look-up and one order serve.
    Column("key", String(MODEL_NAME_LENGTH), nullable=False, unique=True),
    Column[Any]("namespace_key", ForeignKey("namespaces.key"), nullable=False),
    Column("name", String(MODEL_NAME_LENGTH), nullable=False),
    Column("description", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("licence", Text, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("card", Text, nullable=False),
    Column("architecture", Text, nullable=False),
    Column("parameters", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    # Highest READY version; 0: none.
    Column("latest_version", Integer, nullable=False),
    # Highest number given.
    Column("newest_version", Integer, nullable=False),
    Column("etag", BigInteger, nullable=False),
    Column("create_time", UtcTime, nullable=False),
    Column("update_time", UtcTime, nullable=False),
    Column("delete_time", UtcTime),
    Column("owner", String(SUBJECT_LENGTH), nullable=False, server_default=""),
    Column("gated", Boolean, nullable=False, server_default=false()),
    Column("kind", String(16), nullable=False, server_default="MODEL"),
    Column("purge_time", UtcTime),
    Column("purged", Boolean, nullable=False, server_default=false()),
    Index("models_by_purge_time", "purge_time"),
    # For every order and every filter that narrows, each ending with the key, by which rows are told apart.
    Index("models_by_namespace", "namespace_key", "key"),
    Index("models_by_task", "task", "key"),
    Index("models_by_licence", "licence", "key"),
    Index("models_by_architecture", "architecture", "key"),
    Index("models_by_parameters", "parameters", "key"),
    Index("models_by_size", "size_bytes", "key"),
    Index("models_by_create_time", "create_time", "key"),
    Index("models_by_update_time", "update_time", "key"),
)

model_text = TextIndex("models", "id", ("name", "tags", "description", "card"))
"""What is searched by words, what matters most first."""

model_tags = Table(
    "model_tags",
    metadata,
    Column[Any]("model_id", ForeignKey("models.id"), nullable=False),
    Column("tag", Text, nullable=False),
    PrimaryKeyConstraint("tag", "model_id"),
    Index("model_tags_by_model", "model_id"),
)

versions = Table(
    "versions",
    metadata,
    Column[Any]("model_id", ForeignKey("models.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("manifest_digest", String(SHA256_HEX_LENGTH), nullable=False),
    Column("state", String(16), nullable=False),
    Column("facts", JSON, nullable=False),
    Column("source", Text, nullable=False),
    Column("creator", String(SUBJECT_LENGTH), nullable=False),
    Column("create_time", UtcTime, nullable=False),
    # Also in `facts`; here to be summed.
    Column("size_bytes", BigInteger, nullable=False, server_default="0"),
    Column("labels", JSON, nullable=False, server_default="{}"),
    Column("metrics", JSON, nullable=False, server_default="[]"),
    Column("state_reason", Text, nullable=False, server_default=""),
    Column("etag", BigInteger, nullable=False, server_default="0"),
    Column("update_time", UtcTime, nullable=False, server_default="0"),
    Column("delete_time", UtcTime),
    Column("purge_time", UtcTime),
    # What it was when it was deleted.
    Column("undelete_state", String(16), nullable=False, server_default=""),
    Column("undelete_reason", Text, nullable=False, server_default=""),
    Column("purged", Boolean, nullable=False, server_default=false()),
    Column("released", Boolean, nullable=False, server_default=false()),
    # For whom a service published it; '': the creator did by itself.
    Column("on_behalf_of", String(SUBJECT_LENGTH), nullable=False, server_default=""),
    PrimaryKeyConstraint("model_id", "version"),
    Index("versions_by_digest", "model_id", "manifest_digest", "version"),
    Index("versions_by_purge_time", "purge_time"),
    Index("versions_to_release", "purged", "released"),
)

version_labels = Table(
    "version_labels",
    metadata,
    Column("model_id", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("model_id", "version", "name"),
    ForeignKeyConstraint(["model_id", "version"], ["versions.model_id", "versions.version"]),
    Index("version_labels_by_name", "model_id", "name", "value", "version"),
)

version_metrics = Table(
    "version_metrics",
    metadata,
    Column("model_id", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("split", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("value", Double, nullable=False),
    PrimaryKeyConstraint("model_id", "version", "dataset", "split", "name"),
    ForeignKeyConstraint(["model_id", "version"], ["versions.model_id", "versions.version"]),
    # Finds a metric's values, and one version's value: the number before the value serves both.
    Index("version_metrics_by_name", "model_id", "dataset", "name", "version", "value", "split"),
)

# The Markdown of a version's README.md, apart from the row that is read whenever a model is run.
cards = Table(
    "cards",
    metadata,
    Column("model_id", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("text", Text, nullable=False),
    PrimaryKeyConstraint("model_id", "version"),
    ForeignKeyConstraint(["model_id", "version"], ["versions.model_id", "versions.version"]),
)

aliases = Table(
    "aliases",
    metadata,
    Column[Any]("model_id", ForeignKey("models.id"), nullable=False),
    Column("alias", String(NAME_LENGTH), nullable=False),
    Column("etag", BigInteger, nullable=False),
    Column("update_time", UtcTime, nullable=False),
    # Null: nothing was said.
    Column("serving", JSON(none_as_null=True)),
    PrimaryKeyConstraint("model_id", "alias"),
)

alias_targets = Table(
    "alias_targets",
    metadata,
    Column("model_id", Integer, nullable=False),
    Column("alias", String(NAME_LENGTH), nullable=False),
    Column("version", Integer, nullable=False),
    Column("weight", Integer, nullable=False),
    PrimaryKeyConstraint("model_id", "alias", "version"),
    ForeignKeyConstraint(["model_id", "alias"], ["aliases.model_id", "aliases.alias"]),
    ForeignKeyConstraint(["model_id", "version"], ["versions.model_id", "versions.version"]),
)

edges = Table(
    "edges",
    metadata,
    Column("child_model_id", Integer, nullable=False),
    Column("child_version", Integer, nullable=False),
    Column("parent_model_id", Integer, nullable=False),
    Column("parent_version", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("job", String(128), nullable=False),
    Column("dataset", String(RESOURCE_LENGTH), nullable=False),
    Column("code", Text, nullable=False),
    Column("create_time", UtcTime, nullable=False),
    Column("actor", String(SUBJECT_LENGTH), nullable=False),
    PrimaryKeyConstraint("child_model_id", "child_version", "parent_model_id", "parent_version", "kind"),
    ForeignKeyConstraint(["child_model_id", "child_version"], ["versions.model_id", "versions.version"]),
    ForeignKeyConstraint(["parent_model_id", "parent_version"], ["versions.model_id", "versions.version"]),
    Index("edges_by_parent", "parent_model_id", "parent_version"),
    Index("edges_by_dataset", "dataset"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(20), nullable=False, unique=True),
    Column("secret_sha256", LargeBinary(32), nullable=False),
    Column("subject", String(SUBJECT_LENGTH), nullable=False),
    Column("description", Text, nullable=False),
    Column("create_time", UtcTime, nullable=False),
    Column("expire_time", UtcTime),
    Column("revoke_time", UtcTime),
)

grants = Table(
    "grants",
    metadata,
    # `*` is no row of `namespaces`.
    Column("namespace_key", String(NAME_LENGTH), nullable=False),
    Column("subject", String(SUBJECT_LENGTH), nullable=False),
    Column("namespace", String(NAME_LENGTH), nullable=False),
    Column("role", Integer, nullable=False),
    Column("create_time", UtcTime, nullable=False),
    PrimaryKeyConstraint("namespace_key", "subject"),
)

access_requests = Table(
    "access_requests",
    metadata,
    Column[Any]("model_id", ForeignKey("models.id"), nullable=False),
    Column("subject", String(SUBJECT_LENGTH), nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("decider", String(SUBJECT_LENGTH), nullable=False),
    Column("decision_reason", Text, nullable=False),
    Column("create_time", UtcTime, nullable=False),
    Column("update_time", UtcTime, nullable=False),
    Column("etag", BigInteger, nullable=False),
    PrimaryKeyConstraint("model_id", "subject"),
    Index("access_requests_by_subject", "subject"),
)

requests = Table(
    "requests",
    metadata,
    Column("subject", String(SUBJECT_LENGTH), nullable=False),
    Column("action", String(64), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("arguments_sha256", String(SHA256_HEX_LENGTH), nullable=False),
    # Names the row that the request made, in its table's own way.
    Column("made", String(MODEL_NAME_LENGTH), nullable=False),
    PrimaryKeyConstraint("subject", "action", "request_id"),
)

changes = Table(
    "changes",
    metadata,
    Column("sequence", Integer, primary_key=True),
    Column("time", UtcTime, nullable=False),
    Column("actor", String(SUBJECT_LENGTH), nullable=False),
    Column("action", String(64), nullable=False),
    Column("resource", String(RESOURCE_LENGTH), nullable=False),
    # What the resource said, as JSON objects; null: it did not exist.
    Column("before", JSON(none_as_null=True)),
    Column("after", JSON(none_as_null=True)),
    # Read from action and resource, for filters and for who may see it. Null: of no namespace, of no model.
    Column("namespace_key", String(NAME_LENGTH)),
    Column("model_key", String(MODEL_NAME_LENGTH)),
    # The least role in the namespace (in the cluster, where there is none) that sees it; unless said, an admin's.
    Column("role", Integer, nullable=False, server_default="5"),
    # For whom the actor, a service, did it, and why; '': for itself.
    Column("on_behalf_of", String(SUBJECT_LENGTH), nullable=False, server_default=""),
    Column("cause", String(SUBJECT_LENGTH), nullable=False, server_default=""),
    Index("changes_by_namespace", "namespace_key", "sequence"),
    Index("changes_by_model", "model_key", "sequence"),
    # A sequence is never given twice, even if the end of the log were removed: it serves as etag.
    sqlite_autoincrement=True,
)

signatures = Table(
    "signatures",
    metadata,
    Column("model_id", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    # SHA-256 of the signer's public key in DER.
    Column("key_id", String(SHA256_HEX_LENGTH), nullable=False),
    Column("public_key", Text, nullable=False),
    Column("bundle", LargeBinary, nullable=False),
    Column("creator", String(SUBJECT_LENGTH), nullable=False),
    Column("create_time", UtcTime, nullable=False),
    PrimaryKeyConstraint("model_id", "version", "key_id"),
    ForeignKeyConstraint(["model_id", "version"], ["versions.model_id", "versions.version"]),
)

trusted_signers = Table(
    "trusted_signers",
    metadata,
    Column[Any]("namespace_key", ForeignKey("namespaces.key"), nullable=False),
    Column("name", String(NAME_LENGTH), nullable=False),
    Column("key_id", String(SHA256_HEX_LENGTH), nullable=False),
    Column("public_key", Text, nullable=False),
    PrimaryKeyConstraint("namespace_key", "name"),
)

signing_policies = Table(
    "signing_policies",
    metadata,
    Column[Any]("namespace_key", ForeignKey("namespaces.key"), primary_key=True),
    Column("require_signatures", Boolean, nullable=False),
    Column("etag", BigInteger, nullable=False),
)
