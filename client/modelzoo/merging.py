"""From a version that is an adapter to one that is a full model: what `zoo merge` and `Client.merge` do."""

import errno
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING

from modelzoo.adapter_base import READABLE, base_of
from modelzoo.adapter_files import of_inputs
from modelzoo.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, ResourceExhausted
from modelzoo.lora import ADAPTER_WEIGHTS, DTYPES, merge_lora
from modelzoo.lora_config import ADAPTER_CONFIG
from modelzoo.progress import Progress, Silence, Summed
from modelzoo.records import Lineage, Parent, PullResult, Version
from modelzoo.reference import Reference, parse

if TYPE_CHECKING:
    from modelzoo.client import Client

__all__ = ["Merged", "merge"]

MERGED = "MERGED"
PUBLISHING = {"PUBLISHER", "TRAINER", "ADMIN"}
RECORD, CARD = "merge.json", "README.md"
# What has to stay with copies of the base.
LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*")


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge came to. `was_there`: an earlier one had made this version, and nothing was computed or sent.
    `dtypes` are those of its floating tensors."""

    reference: str
    digest: str
    base: str
    adapter: str
    dtypes: tuple[str, ...]
    was_there: bool
    bytes_total: int
    bytes_sent: int


def merge(
    client: "Client",
    ref: str,
    to: str,
    *,
    base: str = "",
    dtype: str | None = None,
    alias: str | None = None,
    create_namespace: bool = False,
    progress: Progress | None = None,
    said: Callable[[str], None] = lambda _: None,
) -> Merged:
    """Publish base and adapter together as the next version of `to`, made from both (MERGED) in its lineage; `base`
    names the base of an adapter whose lineage does not. `said` hears, in words, what is done next.

    The same base, adapter and dtype are merged into a model once: repeated, it answers the version that is there.
    Raises, before anything is fetched, ADAPTER_EXPECTED, NAMESPACE_NOT_FOUND, ROLE_MISSING and KIND_MISMATCH; then
    DISK_FULL; what `base_of` of modelzoo.adapter_base, `merge_lora` of modelzoo.lora and
    `Client.push` raise.
    """
    if dtype is not None and dtype not in DTYPES:
        raise InvalidArgument("FIELD_INVALID", f"A dtype is one of {', '.join(DTYPES)}, not {dtype!a}.")
    model = _model(to)
    adapter = client.version(ref)
    _check_adapter(client, adapter)
    _check_output(client, model, may_be_new=create_namespace)
    wanted = base_of(client, adapter, base)
    before = _before(client, model, wanted, adapter, dtype)
    earlier = next((version for version in before if version.state in READABLE), None)
    if earlier is not None:
        if alias is not None:
            client.set_alias(earlier.model, alias, earlier.version)
        return _answer(earlier, wanted, adapter, was_there=True, bytes_sent=0)
    summed = Summed(progress or Silence())
    try:
        with ExitStack() as stack:
            said(f"fetching {wanted.reference} and {adapter.reference}")
            held = [
                stack.enter_context(client.hold(each.reference, progress=summed.part())) for each in (wanted, adapter)
            ]
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zoo-merge-")))
            said(f"adding {adapter.reference} to {wanted.reference}")
            dtypes = merge_lora(held[0].path, held[1].path, folder, dtype)
            _copy_beside(held, folder)
            _write_card(folder, model, wanted, adapter, dtypes)
            said(f"publishing {model.model}")
            pushed = client.push(
                folder,
                model.model,
                format="transformers",
                alias=alias,
                parents=[Parent(each.reference, MERGED) for each in (wanted, adapter)],
                create_namespace=create_namespace,
                progress=summed.part(),
                request_id=_request_id(model, wanted, adapter, dtype, len(before)),
            )
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            place = tempfile.gettempdir()
            message = f"There is no room for the merged model in {place}: make some, or set TMPDIR to another place."
            raise ResourceExhausted("DISK_FULL", message) from error
        raise
    made = client.version(pushed.reference)
    return _answer(made, wanted, adapter, was_there=False, bytes_sent=pushed.bytes_sent)


def _check_adapter(client: "Client", version: Version) -> None:
    paths = {file.path for file in client.manifest(version.reference).files}
    if not paths >= {ADAPTER_CONFIG, ADAPTER_WEIGHTS}:
        lacks = ", ".join(sorted({ADAPTER_CONFIG, ADAPTER_WEIGHTS} - paths))
        raise FailedPrecondition(
            "ADAPTER_EXPECTED",
            f"{version.reference} is no adapter (it lacks {lacks}): a full model needs no merging. `zoo lineage "
            f"{version.reference} --down` shows adapters that were made from it.",
            metadata={"reference": version.reference},
        )


def _check_output(client: "Client", model: Reference, *, may_be_new: bool) -> None:
    """Raise what publishing would be refused with, as far as it can be known."""
    roles = {namespace.casefold(): role for namespace, role in client.whoami().roles.items()}
    try:
        client.manage.namespace(model.namespace)
    except NotFound:
        if may_be_new:
            return
        raise
    if not PUBLISHING & {roles.get("*"), roles.get(model.namespace.casefold())}:
        raise PermissionDenied(
            "ROLE_MISSING",
            f"You may not publish in the namespace {model.namespace}: that needs the role PUBLISHER.",
            metadata={"role": "PUBLISHER", "namespace": model.namespace},
        )
    with suppress(NotFound):
        if client.model(model.model).kind != "MODEL":
            raise FailedPrecondition("KIND_MISMATCH", f"{model.model} is a dataset: merge into another name.")


def _before(client: "Client", model: Reference, base: Version, adapter: Version, dtype: str | None) -> list[Version]:
    """Versions of the model that are these two merged, in this dtype, the newest first."""
    try:
        found = client.lineages.get(adapter.reference, direction="down", depth=1)
        made = [client.version(reference) for reference in _children(found, model)]
    except NotFound:
        return []
    before: list[Version] = []
    for version in sorted(made, key=lambda each: -each.version):
        above = client.lineages.get(version.reference, direction="up", depth=1)
        parents = {above.nodes[edge.parent].reference for edge in above.edges if edge.kind == MERGED}
        same_dtype = dtypes_of(version) == ((dtype,) if dtype else dtypes_of(base))
        if parents == {base.reference, adapter.reference} and same_dtype:
            before.append(version)
    return before


def _children(found: Lineage, model: Reference) -> list[str]:
    merged = (found.nodes[edge.child] for edge in found.edges if edge.kind == MERGED and edge.parent == 0)
    wanted = model.model.casefold()
    return [each.reference for each in merged if each.reference.partition("@")[0].casefold() == wanted]


_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def dtypes_of(version: Version) -> tuple[str, ...]:
    """Those of its floating tensors, as torch names them."""
    return tuple(sorted(_DTYPES[name] for name in version.facts.dtype_bytes if name in _DTYPES))


def _request_id(model: Reference, base: Version, adapter: Version, dtype: str | None, before: int) -> str:
    """The same for whoever repeats a merge that broke off; another one once its version is deleted."""
    said = "\n".join(("merge", model.model, base.manifest_digest, adapter.manifest_digest, dtype or "", str(before)))
    return hashlib.sha256(said.encode()).hexdigest()


def _copy_beside(held: list[PullResult], folder: Path) -> None:
    """What turns inputs into tensors, and licences; the adapter's before the base's."""
    for result in reversed(held):
        licences = (path for pattern in LICENCES for path in sorted(result.path.glob(pattern)) if path.is_file())
        for source in (*of_inputs(result.path), *licences):
            if not (folder / source.name).exists():
                shutil.copyfile(source, folder / source.name)


def _write_card(folder: Path, model: Reference, base: Version, adapter: Version, dtypes: tuple[str, ...]) -> None:
    record = {
        "base": {"reference": base.reference, "manifest_digest": base.manifest_digest},
        "adapter": {"reference": adapter.reference, "manifest_digest": adapter.manifest_digest},
        "dtypes": list(dtypes),
        "software": {name: package_version(name) for name in ("torch", "transformers", "peft")},
    }
    task = base.facts.task or adapter.facts.task
    lines = [
        *("---", *([f"pipeline_tag: {task}"] if task else []), f"base_model: {base.model}"),
        *([f"license: {json.dumps(base.facts.licence)}"] if base.facts.licence else []),
        *("---", ""),
        *(f"# {model.name}", ""),
        f"`{base.reference}` with the adapter `{adapter.reference}` added to its weights: a full model that needs no "
        f"adapter beside it. Added up in float32, kept in {' and '.join(dtypes)}.",
        "",
        f"What was measured of the adapter stands with it (`zoo show {adapter.reference}`). This version was not "
        "measured again: it differs by rounding alone.",
        *("", f"`{RECORD}` has the digests and versions of packages for programs."),
    ]
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    (folder / CARD).write_text("\n".join(lines) + "\n")


def _answer(made: Version, base: Version, adapter: Version, *, was_there: bool, bytes_sent: int) -> Merged:
    return Merged(
        reference=made.reference,
        digest=made.manifest_digest,
        base=base.reference,
        adapter=adapter.reference,
        dtypes=dtypes_of(made),
        was_there=was_there,
        bytes_total=made.facts.size_bytes,
        bytes_sent=bytes_sent,
    )


def _model(text: str) -> Reference:
    found = parse(text)
    if found.selector is not None:
        raise InvalidArgument(
            "REFERENCE_INVALID", f"The zoo gives versions their numbers: merge into {found.model}, without '@'."
        )
    return found
