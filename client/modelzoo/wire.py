"""Records from protobuf messages: the only place of the client that knows both."""

from collections.abc import Iterable
from datetime import UTC, datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from modelzoo import records
from modelzoo.datasets.facts import DatasetFacts, Feature, Split
from zoo.catalog.v1 import (
    access_request_pb2,
    catalog_service_pb2,
    model_pb2,
)
from zoo.iam.v1 import iam_service_pb2, key_pb2
from zoo.inference.v1 import classification_pb2, generation_pb2, inference_service_pb2, worker_service_pb2

__all__ = [
    "access_request",
    "alias",
    "classification",
    "classifications",
    "detections",
    "finish",
    "grant",
    "key",
    "model",
    "model_counts",
    "namespace",
    "new_key",
    "principal",
    "role_to_pb",
    "serving_to_pb",
    "time",
    "to_timestamp",
    "transcription",
    "version",
    "worker",
]


def namespace(pb: model_pb2.Namespace, used_bytes: int | None = None) -> records.Namespace:
    return records.Namespace(
        name=pb.name,
        description=pb.description,
        create_time=time(pb.create_time),
        policy=records.Policy(
            allow_opaque=pb.policy.allow_opaque,
            undelete_days=pb.policy.undelete_days,
            keep_versions=pb.policy.keep_versions or None,
            keep_checkpoints=pb.policy.keep_checkpoints,
        ),
        quota_bytes=pb.quota_bytes or None,
        used_bytes=used_bytes,
        update_time=time(pb.update_time),
        etag=pb.etag,
    )


def model(pb: model_pb2.Model) -> records.Model:
    return records.Model(
        name=pb.name,
        task=pb.task,
        description=pb.description,
        licence=pb.licence,
        tags=tuple(pb.tags),
        card=pb.card,
        latest_version=pb.latest_version or None,
        create_time=time(pb.create_time),
        update_time=time(pb.update_time),
        etag=pb.etag,
        architecture=pb.architecture,
        parameters=pb.parameters or None,
        size_bytes=pb.size_bytes or None,
        owner=pb.owner,
        gated=pb.gated,
        kind=model_pb2.ModelKind.Name(pb.kind).removeprefix("MODEL_KIND_"),
        delete_time=time(pb.delete_time),
        purge_time=time(pb.purge_time),
    )


def model_counts(pb: catalog_service_pb2.CountModelsResponse) -> records.ModelCounts:
    return records.ModelCounts(
        total=pb.total,
        tasks=_counts(pb.tasks),
        architectures=_counts(pb.architectures),
        licences=_counts(pb.licences),
        namespaces=_counts(pb.namespaces),
    )


def _counts(pbs: Iterable[catalog_service_pb2.ModelCount]) -> dict[str, int]:
    return {pb.value: pb.models for pb in pbs}


def version(pb: model_pb2.Version) -> records.Version:
    return records.Version(
        model=pb.model,
        version=pb.version,
        manifest_digest=pb.manifest_digest,
        state=model_pb2.VersionState.Name(pb.state).removeprefix("VERSION_STATE_"),
        facts=_facts(pb.facts),
        source=pb.source,
        creator=pb.creator,
        on_behalf_of=pb.on_behalf_of,
        create_time=time(pb.create_time),
        state_reason=pb.state_reason,
        labels=dict(pb.labels),
        metrics=tuple(map(_metric, pb.metrics)),
        gated=pb.gated,
        etag=pb.etag,
        update_time=time(pb.update_time),
        delete_time=time(pb.delete_time),
        purge_time=time(pb.purge_time),
    )


def _metric(pb: model_pb2.Metric) -> records.Metric:
    return records.Metric(pb.dataset, pb.split, pb.name, pb.value, time(pb.update_time))


def _facts(pb: model_pb2.Facts) -> records.Facts:
    return records.Facts(
        architecture=pb.architecture,
        task=pb.task,
        parameters=pb.parameters or None,
        dtype_bytes=dict(pb.dtype_bytes),
        context_length=pb.context_length or None,
        labels=tuple(pb.labels),
        size_bytes=pb.size_bytes,
        file_count=pb.file_count,
        format=pb.format,
        chat_template=pb.chat_template,
        dataset=_dataset(pb.dataset) if pb.HasField("dataset") else None,
        licence=pb.licence,
        tags=tuple(pb.tags),
        datasets=tuple(pb.datasets),
        base_models=tuple(pb.base_models),
        languages=tuple(pb.languages),
    )


def _dataset(pb: model_pb2.DatasetFacts) -> DatasetFacts:
    splits = (
        Split(
            split.name,
            split.rows if split.HasField("rows") else None,
            split.size_bytes,
            split.files,
            dict(split.labels),
        )
        for split in pb.splits
    )
    features = (Feature(feature.name, feature.type, feature.optional) for feature in pb.features)
    return DatasetFacts(pb.format, tuple(splits), tuple(features))


def alias(pb: model_pb2.Alias) -> records.Alias:
    targets = tuple(records.AliasTarget(target.version, target.weight) for target in pb.targets)
    serving = _serving(pb.serving) if pb.HasField("serving") else None
    return records.Alias(pb.model, pb.alias, targets, time(pb.update_time), pb.etag, serving)


def _serving(pb: model_pb2.ServingSettings) -> records.Serving:
    return records.Serving(pb.min_workers, pb.max_workers, pb.resource_class, pb.pinned, dict(pb.options))


def serving_to_pb(serving: records.Serving | None) -> model_pb2.ServingSettings | None:
    """None stays unset."""
    if serving is None:
        return None
    return model_pb2.ServingSettings(
        min_workers=serving.min_workers,
        max_workers=serving.max_workers,
        resource_class=serving.resource_class,
        pinned=serving.pinned,
        options=serving.options,
    )


def access_request(pb: access_request_pb2.AccessRequest) -> records.AccessRequest:
    return records.AccessRequest(
        model=pb.model,
        subject=pb.subject,
        reason=pb.reason,
        state=access_request_pb2.AccessState.Name(pb.state).removeprefix("ACCESS_STATE_"),
        decider=pb.decider,
        decision_reason=pb.decision_reason,
        create_time=time(pb.create_time),
        update_time=time(pb.update_time),
        etag=pb.etag,
    )


def finish(pb: generation_pb2.Finish) -> records.Finish:
    return records.Finish(
        reason=generation_pb2.FinishReason.Name(pb.reason).removeprefix("FINISH_REASON_"),
        input_tokens=pb.usage.input_tokens,
        output_tokens=pb.usage.output_tokens,
        queue_s=_seconds(pb.timings.queue),
        prefill_s=_seconds(pb.timings.prefill),
        decode_s=_seconds(pb.timings.decode),
        reference=pb.reference,
        manifest_digest=pb.manifest_digest,
        base=_base(pb),
    )


def classification(pb: inference_service_pb2.ClassifyImageResponse) -> records.Classification:
    return records.Classification(_labels(pb.classification.labels), _computed(pb.computed))


def classifications(pb: inference_service_pb2.ClassifyTextResponse) -> list[records.Classification]:
    computed = _computed(pb.computed)
    return [records.Classification(_labels(each.labels), computed) for each in pb.classifications]


def detections(pb: inference_service_pb2.DetectObjectsResponse) -> records.Detections:
    found = tuple(
        records.Detection(
            _label(each.label), records.Box(each.box.x_min, each.box.y_min, each.box.x_max, each.box.y_max)
        )
        for each in pb.detections
    )
    return records.Detections(found, pb.width, pb.height, _computed(pb.computed))


def transcription(pb: inference_service_pb2.TranscribeResponse) -> records.Transcription:
    return records.Transcription(
        text=pb.text,
        segments=tuple(
            records.Segment(segment.text, _seconds(segment.start), _seconds(segment.end)) for segment in pb.segments
        ),
        duration_s=_seconds(pb.duration),
        output_tokens=pb.usage.output_tokens,
        computed=_computed(pb.computed),
    )


def key(pb: key_pb2.Key) -> records.Key:
    return records.Key(
        name=pb.name,
        subject=pb.subject,
        description=pb.description,
        create_time=time(pb.create_time),
        expire_time=time(pb.expire_time),
        revoke_time=time(pb.revoke_time),
    )


def new_key(pb: iam_service_pb2.CreateKeyResponse) -> records.NewKey:
    return records.NewKey(key(pb.key), pb.secret)


def grant(pb: key_pb2.Grant) -> records.Grant:
    return records.Grant(pb.subject, pb.namespace, _role(pb.role), time(pb.create_time))


def principal(pb: iam_service_pb2.GetPrincipalResponse) -> records.Principal:
    return records.Principal(pb.subject, {name: _role(role) for name, role in sorted(pb.roles.items())})


def worker(pb: worker_service_pb2.Worker) -> records.Worker:
    return records.Worker(
        name=pb.name,
        resource_class=pb.resource_class,
        start_time=time(pb.start_time),
        running=pb.running,
        queued=pb.queued,
        capacity=pb.capacity,
        used_bytes=pb.used_bytes,
        budget_bytes=pb.budget_bytes,
        draining=pb.draining,
        models=tuple(
            records.LoadedModel(
                loaded.reference, loaded.manifest_digest, loaded.loading, loaded.size_bytes, loaded.base_manifest_digest
            )
            for loaded in pb.models
        ),
    )


def role_to_pb(role: str) -> "key_pb2.Role.ValueType":
    """The role of that name in any case; ValueError, naming them all, if there is none."""
    roles = {name.removeprefix("ROLE_"): number for name, number in key_pb2.Role.items() if number}
    if role.upper() not in roles:
        raise ValueError(f"{role!r} is not one of {', '.join(roles)}")
    return roles[role.upper()]


def to_timestamp(time: datetime | None) -> Timestamp | None:
    """The same moment; a time without a zone is taken as local, as datetime does."""
    if time is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(time.astimezone(UTC))
    return stamp


def _labels(pb: Iterable[classification_pb2.LabelScore]) -> tuple[records.LabelScore, ...]:
    return tuple(_label(label) for label in pb)


def _label(pb: classification_pb2.LabelScore) -> records.LabelScore:
    return records.LabelScore(pb.label, pb.score, pb.index)


def _computed(pb: classification_pb2.Computed) -> records.Computed:
    return records.Computed(pb.reference, pb.manifest_digest, _seconds(pb.queue), _seconds(pb.compute), _base(pb))


def _base(pb: generation_pb2.Finish | classification_pb2.Computed) -> records.Base | None:
    return records.Base(pb.base.reference, pb.base.manifest_digest) if pb.HasField("base") else None


def time(stamp: Timestamp) -> datetime | None:
    return stamp.ToDatetime(UTC) if stamp.seconds or stamp.nanos else None


def _seconds(duration: Duration) -> float:
    return duration.ToNanoseconds() / 1e9


def _role(role: "key_pb2.Role.ValueType") -> str:
    return key_pb2.Role.Name(role).removeprefix("ROLE_")
