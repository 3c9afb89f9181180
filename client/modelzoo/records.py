"""What the client answers: plain values, the same whatever the wire looks like."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from modelzoo.datasets.facts import DatasetFacts
from modelzoo.history_records import Change, Edge, Lineage, LineageEdge, LineageNode, Parent
from modelzoo.tasks.results import Box, Detection, LabelScore, Segment

__all__ = [
    "AccessRequest",
    "Alias",
    "AliasTarget",
    "Box",
    "Change",
    "Classification",
    "Completion",
    "Computed",
    "DatasetFacts",
    "Detection",
    "Detections",
    "Edge",
    "Facts",
    "Finish",
    "Grant",
    "Key",
    "LabelScore",
    "Lineage",
    "LineageEdge",
    "LineageNode",
    "LoadedModel",
    "Metric",
    "Model",
    "ModelCounts",
    "Namespace",
    "NewKey",
    "Parent",
    "Policy",
    "Principal",
    "PullResult",
    "PushResult",
    "Segment",
    "Serving",
    "TensorInfo",
    "Transcription",
    "Version",
    "Worker",
]


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for a namespace's models. `keep_versions` None: all are kept. `keep_checkpoints` is for each training
    job."""

    allow_opaque: bool
    undelete_days: int
    keep_versions: int | None
    keep_checkpoints: int


@dataclass(frozen=True, slots=True)
class Namespace:
    """`quota_bytes` None: no limit; `used_bytes` None: not asked for."""

    name: str
    description: str
    create_time: datetime | None
    policy: Policy
    quota_bytes: int | None
    used_bytes: int | None
    update_time: datetime | None
    etag: str


@dataclass(frozen=True, slots=True)
class Model:
    """A model; what a newest version says is empty where there is none. `card` is empty in listings, `kind` is MODEL or
    DATASET. A deleted one can be undeleted until `purge_time`."""

    name: str
    task: str
    description: str
    licence: str
    tags: tuple[str, ...]
    card: str
    latest_version: int | None
    create_time: datetime | None
    update_time: datetime | None
    etag: str
    architecture: str
    parameters: int | None
    size_bytes: int | None
    owner: str
    gated: bool
    kind: str
    delete_time: datetime | None
    purge_time: datetime | None


@dataclass(frozen=True, slots=True)
class ModelCounts:
    """How many models there are, in all and by what they say ('': nothing), the most frequent first."""

    total: int
    tasks: Mapping[str, int]
    architectures: Mapping[str, int]
    licences: Mapping[str, int]
    namespaces: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the zoo read from a version's bytes; unknown numbers are None, unknown words empty."""

    architecture: str
    task: str
    parameters: int | None
    dtype_bytes: Mapping[str, int]
    context_length: int | None
    labels: tuple[str, ...]
    size_bytes: int
    file_count: int
    format: str
    chat_template: bool
    dataset: DatasetFacts | None
    licence: str
    tags: tuple[str, ...]
    datasets: tuple[str, ...]
    base_models: tuple[str, ...]
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """What was measured with one split (empty: all of it) of a dataset."""

    dataset: str
    split: str
    name: str
    value: float
    update_time: datetime | None


@dataclass(frozen=True, slots=True)
class Version:
    """A published version. `state` is READY, DEPRECATED, QUARANTINED or DELETED; a deleted one can be undeleted until
    `purge_time`. `manifest_digest` is empty in listings of a gated model to whom no access is granted."""

    model: str
    version: int
    manifest_digest: str
    state: str
    facts: Facts
    source: str
    creator: str
    create_time: datetime | None
    state_reason: str
    labels: Mapping[str, str]
    metrics: tuple[Metric, ...]
    gated: bool
    etag: str
    update_time: datetime | None
    delete_time: datetime | None
    purge_time: datetime | None
    on_behalf_of: str = ""

    @property
    def reference(self) -> str:
        """`namespace/name@number`."""
        return f"{self.model}@{self.version}"

    @property
    def published_by(self) -> str:
        """The creator, and where that is a service for whom it published."""
        return f"{self.creator} for {self.on_behalf_of}" if self.on_behalf_of else self.creator


@dataclass(frozen=True, slots=True)
class AliasTarget:
    version: int
    weight: int


@dataclass(frozen=True, slots=True)
class Serving:
    """How an alias's targets are to be served. `max_workers` 0: no limit; `resource_class` empty: any."""

    min_workers: int = 0
    max_workers: int = 0
    resource_class: str = ""
    pinned: bool = False
    options: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Alias:
    model: str
    alias: str
    targets: tuple[AliasTarget, ...]
    update_time: datetime | None
    etag: str
    serving: Serving | None


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A subject's request for a gated model. `state` is PENDING, APPROVED, DENIED or REVOKED."""

    model: str
    subject: str
    reason: str
    state: str
    decider: str
    decision_reason: str
    create_time: datetime | None
    update_time: datetime | None
    etag: str


@dataclass(frozen=True, slots=True)
class Base:
    """The version that an adapter was added to."""

    reference: str
    manifest_digest: str


@dataclass(frozen=True, slots=True)
class Finish:
    """How a generation ended: `reason` is STOP or LENGTH; `reference` and `manifest_digest` say what answered, and
    `base`, where that is an adapter, what it was added to."""

    reason: str
    input_tokens: int
    output_tokens: int
    queue_s: float
    prefill_s: float
    decode_s: float
    reference: str
    manifest_digest: str
    base: Base | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    text: str
    finish: Finish


@dataclass(frozen=True, slots=True)
class Computed:
    """What answered (an adapter added to its `base`), and how long it took: waiting, a load of the model included, then
    computing in its batch."""

    reference: str
    manifest_digest: str
    queue_s: float
    compute_s: float
    base: Base | None = None


@dataclass(frozen=True, slots=True)
class Classification:
    """Labels of one text or picture, the most probable first."""

    labels: tuple[LabelScore, ...]
    computed: Computed


@dataclass(frozen=True, slots=True)
class Detections:
    """Objects in a picture, the highest score first. Their boxes lie in the picture as a person sees it, `width` by
    `height` pixels: turned as its EXIF orientation says."""

    detections: tuple[Detection, ...]
    width: int
    height: int
    computed: Computed


@dataclass(frozen=True, slots=True)
class Transcription:
    """What was said: the whole, and in parts. `duration_s` is the sound's."""

    text: str
    segments: tuple[Segment, ...]
    duration_s: float
    output_tokens: int
    computed: Computed


@dataclass(frozen=True, slots=True)
class Key:
    name: str
    subject: str
    description: str
    create_time: datetime | None
    expire_time: datetime | None
    revoke_time: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key and its secret, which nobody can show again."""

    key: Key
    secret: str

    def __repr__(self) -> str:
        return f"NewKey({self.key.name})"


@dataclass(frozen=True, slots=True)
class Grant:
    """`role` is VIEWER, INVOKER, PUBLISHER, TRAINER or ADMIN."""

    subject: str
    namespace: str
    role: str
    create_time: datetime | None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who the caller is, and its role by namespace (`*` is every one)."""

    subject: str
    roles: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A version in a worker's memory; of an adapter, the base's digest is there beside its own."""

    reference: str
    manifest_digest: str
    loading: bool
    size_bytes: int
    base_manifest_digest: str = ""


@dataclass(frozen=True, slots=True)
class Worker:
    name: str
    resource_class: str
    start_time: datetime | None
    running: int
    queued: int
    capacity: int
    used_bytes: int
    budget_bytes: int
    draining: bool
    models: tuple[LoadedModel, ...]


@dataclass(frozen=True, slots=True)
class PushResult:
    """`bytes_sent` went over the wire as blobs, those sent twice counted twice; `skipped` are hidden files left out.
    `is_new` is False where the latest version had these files already, and is what `reference` says."""

    reference: str
    digest: str
    bytes_total: int
    bytes_sent: int
    seconds: float
    skipped: tuple[str, ...]
    is_new: bool


@dataclass(frozen=True, slots=True)
class PullResult:
    """`path` is the directory with the files; `bytes_received` went over the wire."""

    reference: str
    digest: str
    path: Path
    bytes_total: int
    bytes_received: int
    seconds: float


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor's place: `size_bytes` bytes of the file `path` from `offset` on. `dtype` is safetensors' word.

    `blobs` are the digests of the blobs that hold it, in order; a small tensor's blob holds its neighbours, too.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int
    path: str
    offset: int
    blobs: tuple[str, ...]
