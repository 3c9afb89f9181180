"""Models of a hub that speaks the Hugging Face Hub's API: what is published, its digests, and the files needed here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from modelzoo.convert.download import Digest, Remote, fetch
from modelzoo.convert.layout import find_layout
from modelzoo.errors import InvalidArgument, NotFound, PermissionDenied, Unavailable, ZooError
from modelzoo.paths import check_path
from modelzoo.progress import Progress, Silence

__all__ = ["Hub", "Snapshot", "fetch_model"]

HUB_URL = "https://huggingface.co"
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Hub:
    """Where a hub is, and the token for what is not open to everybody."""

    url: str = HUB_URL
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A directory with a model's files as they were in `commit`, and the names of those that were not fetched."""

    folder: Path
    model: str
    commit: str
    licence: str
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _File:
    size: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class _Listing:
    model: str
    commit: str
    licence: str
    files: Mapping[str, _File]


def fetch_model(hub: Hub, model: str, revision: str, cache: Path, progress: Progress) -> Snapshot:
    """The files of the model that an import needs, fetched into `cache` unless they are there, each with its digest.

    Raises SOURCE_NOT_FOUND, SOURCE_ACCESS_DENIED and SOURCE_UNAVAILABLE as the hub answers; DOWNLOAD_CORRUPT;
    CHECKPOINT_UNSUPPORTED where the model has no weights in transformers' form.
    """
    listing = _list(hub, model, revision)
    folder = cache / listing.model.replace("/", "--") / listing.commit

    def remote(name: str) -> Remote:
        url = f"{hub.url.rstrip('/')}/{listing.model}/resolve/{listing.commit}/{quote(name)}"
        return Remote(url, listing.files[name].digest, hub.token, listing.files[name].size)

    def read_json(name: str) -> Any:
        fetch(remote(name), folder / name, Silence())
        try:
            return json.loads((folder / name).read_bytes())
        except ValueError as error:
            raise InvalidArgument("CHECKPOINT_UNSUPPORTED", f"{name} of {listing.model} is not JSON.") from error

    layout = find_layout(listing.files, read_json)
    index = (layout.weights.index,) if layout.weights.index else ()
    wanted = (*layout.describing, *index, *layout.weights.files)
    for name in wanted:
        check_path(name)
    progress.start(sum(listing.files[name].size for name in wanted))
    for name in wanted:
        fetch(remote(name), folder / name, progress)
    return Snapshot(folder, listing.model, listing.commit, listing.licence, layout.dropped)


def _list(hub: Hub, model: str, revision: str) -> _Listing:
    from httpx2 import HTTPError
    from huggingface_hub import HfApi, errors

    try:
        # False, so that a token of the user's own login goes nowhere but where the caller sends it.
        api = HfApi(endpoint=hub.url.rstrip("/"), token=hub.token or False)
        found = api.model_info(model, revision=revision, files_metadata=True, timeout=TIMEOUT_S)
    except errors.OfflineModeIsEnabled as error:
        raise Unavailable("SOURCE_UNAVAILABLE", f"{model} is not fetched: HF_HUB_OFFLINE is set; unset it.") from error
    except errors.HFValidationError as error:
        raise InvalidArgument("FIELD_INVALID", f"{model[:120]!a} is no directory and no name of a model.") from error
    except (errors.HfHubHTTPError, HTTPError) as error:
        raise _refused(hub, model, revision, error) from error
    files: dict[str, _File] = {}
    for sibling in found.siblings or ():
        digest = Digest("sha256", sibling.lfs.sha256) if sibling.lfs else Digest("git-sha1", sibling.blob_id or "none")
        files[sibling.rfilename] = _File(sibling.size or 0, digest)
    licence = getattr(found.card_data, "license", None)
    return _Listing(found.id, found.sha or revision, licence if isinstance(licence, str) else "", files)


def _refused(hub: Hub, model: str, revision: str, error: Exception) -> ZooError:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return _denied(f"{model} is gated: accept its conditions at {hub.url}/{model}, then set HF_TOKEN")
    if isinstance(error, errors.RevisionNotFoundError):
        return NotFound("SOURCE_NOT_FOUND", f"{model} at {hub.url} has no revision {revision[:120]!a}.")
    if isinstance(error, errors.RepositoryNotFoundError):
        return NotFound(
            "SOURCE_NOT_FOUND",
            f"{hub.url} shows no model {model!a}: check the spelling; for a private one set HF_TOKEN.",
        )
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if status in (401, 403):
        return _denied(f"{hub.url} refuses {model} ({status}): check HF_TOKEN")
    return Unavailable("SOURCE_UNAVAILABLE", f"{hub.url} does not answer about {model}: {str(error)[:300]}.")


def _denied(why: str) -> PermissionDenied:
    return PermissionDenied("SOURCE_ACCESS_DENIED", f"{why}.")
