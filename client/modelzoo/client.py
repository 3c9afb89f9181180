"""The client: one object for everything that a user does with a zoo."""

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from modelzoo import config, records, wire
from modelzoo.access import Access
from modelzoo.alias_calls import AliasCalls
from modelzoo.cache import NodeCache
from modelzoo.calls import building, paged, translated
from modelzoo.change_log import ChangeLog, ChangeStream, change_filter
from modelzoo.channel import open_channel
from modelzoo.diff_sides import diff_sides
from modelzoo.file_bytes import stored
from modelzoo.following import STALE_MOST_S, Following
from modelzoo.generation import Message
from modelzoo.inference import Inference
from modelzoo.lineage import Lineages
from modelzoo.making import Making
from modelzoo.manage import Manage
from modelzoo.manifest import Manifest
from modelzoo.progress import Progress
from modelzoo.pull import get_manifest, hold_version, pull_version
from modelzoo.push import push
from modelzoo.reference import parse
from modelzoo.signatures import Signatures
from modelzoo.tensor_array import Library
from modelzoo.tensor_reading import read_tensors, tensor_infos
from modelzoo.tensor_slice import Index
from modelzoo.training import Jobs
from modelzoo.upkeep import Upkeep
from modelzoo.upload import Base
from modelzoo.version_diff import Diff
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import catalog_service_pb2_grpc as rpc
from zoo.catalog.v1 import model_pb2
from zoo.inference.v1 import worker_service_pb2, worker_service_pb2_grpc

__all__ = ["Client", "Message"]


class Client(Inference, Making):
    """A connection to a zoo, for any number of threads. Close it, or use it in a `with`.

    Without arguments, address and key are those of `ZOO_URL` and `ZOO_KEY` or of `~/.config/zoo/config.toml`. Every
    method raises a ZooError: what the server refuses, REFERENCE_INVALID before anything is sent, SERVER_UNREACHABLE.
    Models are run by the methods of Inference, and made of others by those of Making; keys, grants and requests for
    gated models are in `access`, what changes namespaces, models and versions is in `manage`, signatures in
    `signatures`, upkeep in `upkeep`, training in `jobs`. A reference is `name` or `namespace/name`, and perhaps
    `@alias`, `@version` or `@sha256:digest`.
    """

    def __init__(self, url: str | None = None, key: str | None = None) -> None:
        given = {name: value for name, value in (("ZOO_URL", url), ("ZOO_KEY", key)) if value}
        found = config.load({**os.environ, **given})
        self.url = found.url
        self._channel = open_channel(found.url, found.key)
        super().__init__(self._channel)
        self.access = Access(self._channel)
        self.manage = Manage(self._channel)
        self.lineages = Lineages(self._channel)
        self.upkeep = Upkeep(self._channel)
        self.signatures = Signatures(self._channel)
        self.jobs = Jobs(self._channel, self.version)
        self._catalog = rpc.CatalogServiceStub(self._channel)
        self._aliases = AliasCalls(self._channel)
        self._log = ChangeLog(self._channel)
        self._workers = worker_service_pb2_grpc.WorkerServiceStub(self._channel)

    def close(self) -> None:
        """End the connection and every call on it. Closing twice is harmless."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    # Finding

    def models(
        self, namespace: str = "", *, query: str = "", filter: str = "", order_by: str = "", deleted: bool = False
    ) -> Iterator[records.Model]:
        """The models that the caller may see, asked for page by page: of one namespace, with all words of a query, of
        those that fulfil a filter such as `task = text-generation AND tags:chat AND parameters < 1e9`.

        `order_by` is a field, perhaps with ` desc` behind it; without it the most relevant come first where there is a
        query, else all are in the order of their names. Raises FILTER_INVALID, QUERY_INVALID, ORDER_BY_INVALID. With
        `deleted`, those that can be undeleted are among them.
        """

        def fetch(token: str) -> tuple[Sequence[records.Model], str]:
            request = pb.ListModelsRequest(
                namespace=namespace,
                query=query,
                filter=filter,
                order_by=order_by,
                page_token=token,
                show_deleted=deleted,
            )
            page = self._catalog.ListModels(request)
            return [wire.model(model) for model in page.models], page.next_page_token

        return paged(fetch)

    def count_models(self, namespace: str = "", *, query: str = "", filter: str = "") -> records.ModelCounts:
        """How many models `models` would give, in all and of each kind."""
        with translated():
            request = pb.CountModelsRequest(namespace=namespace, query=query, filter=filter)
            return wire.model_counts(self._catalog.CountModels(request))

    def model(self, ref: str) -> records.Model:
        """The model that the reference names, with its card."""
        with translated():
            return wire.model(self._catalog.GetModel(pb.GetModelRequest(name=parse(ref).model)).model)

    def version(self, ref: str) -> records.Version:
        """The version that the reference means now; one by weight where an alias has several."""
        with translated():
            return wire.version(self._catalog.GetVersion(pb.GetVersionRequest(reference=str(parse(ref)))).version)

    def card(self, ref: str) -> str:
        """The Markdown of the version's own README.md, without its front matter; '' where it has none."""
        request = pb.GetVersionRequest(reference=str(parse(ref)), with_card=True)
        with translated():
            return self._catalog.GetVersion(request).card

    def versions(
        self, ref: str, *, filter: str = "", order_by: str = "", deleted: bool = False
    ) -> Iterator[records.Version]:
        """The model's versions, asked for page by page: all, or those that fulfil a filter such as
        `state = READY AND labels.stage = prod AND metrics.sst2.accuracy > 0.9`; deleted ones only if wanted.

        `order_by` is a field or a metric, perhaps with ` desc` behind it; without it the highest come first. Raises
        FILTER_INVALID, ORDER_BY_INVALID.
        """
        name = parse(ref).model

        def fetch(token: str) -> tuple[Sequence[records.Version], str]:
            page = self._catalog.ListVersions(
                pb.ListVersionsRequest(
                    model=name, filter=filter, order_by=order_by, page_token=token, show_deleted=deleted
                )
            )
            return [wire.version(version) for version in page.versions], page.next_page_token

        return paged(fetch)

    def manifest(self, ref: str) -> Manifest:
        """The version's files: their paths, sizes, digests and blobs."""
        version = self.version(ref)
        return get_manifest(self._channel, parse(version.model).namespace, version.manifest_digest)

    def namespaces(self) -> Iterator[records.Namespace]:
        """The namespaces in which the caller has a role."""

        def fetch(token: str) -> tuple[Sequence[records.Namespace], str]:
            page = self._catalog.ListNamespaces(pb.ListNamespacesRequest(page_token=token))
            return [wire.namespace(namespace) for namespace in page.namespaces], page.next_page_token

        return paged(fetch)

    def create_namespace(self, name: str, description: str = "") -> records.Namespace:
        """A new namespace; the caller becomes its admin."""
        with building():
            request = pb.CreateNamespaceRequest(namespace=model_pb2.Namespace(name=name, description=description))
        with translated():
            return wire.namespace(self._catalog.CreateNamespace(request).namespace)

    # Aliases

    def alias(self, ref: str, alias: str) -> records.Alias:
        """The model's alias of that name."""
        return self._aliases.get(parse(ref).model, alias)

    def aliases(self, ref: str) -> Iterator[records.Alias]:
        """The model's aliases, by name."""
        return self._aliases.list(parse(ref).model)

    def set_alias(
        self,
        ref: str,
        alias: str,
        targets: int | Iterable[records.AliasTarget],
        *,
        etag: str = "",
        serving: records.Serving | None = None,
    ) -> records.Alias:
        """Move the alias, or make it: to one version, or to several by weight. `serving` None: as it was.

        With `etag`, only if it is still the alias's (`absent`: if there is none yet); else ETAG_MISMATCH.
        """
        return self._aliases.set(parse(ref).model, alias, targets, etag, serving)

    def delete_alias(self, ref: str, alias: str, *, etag: str = "") -> None:
        """Remove the alias; with `etag`, only if it is still the alias's."""
        self._aliases.delete(parse(ref).model, alias, etag)

    # Changes

    def changes(
        self,
        after: int | None = 0,
        *,
        follow: bool = False,
        since: datetime | None = None,
        namespace: str = "",
        models: Sequence[str] = (),
        resource_prefix: str = "",
        actions: Sequence[str] = (),
    ) -> ChangeStream:
        """What changed in the zoo, as far as the caller may see it: in order, each change once, connections that break
        made good. Ends at the present end, or with `follow` never.

        `after` is a cursor: 0 the beginning, None the present end, else the `cursor` of an earlier stream or the
        sequence of a change; CURSOR_INVALID if the log has no such place. `since` gives a time instead. The others
        leave through what is of the namespace, of one of the models, of resources that begin so, of these actions.
        """
        wanted = change_filter(namespace, [parse(model).model for model in models], resource_prefix, actions)
        if since is not None:
            after = self._log.cursor_at(wanted, since)
        return self._log.stream(wanted, after, follow=follow)

    def latest_changes(self, *, namespace: str = "", models: Sequence[str] = ()) -> Iterator[records.Change]:
        """The same backwards in time, from the last one, asked for page by page."""
        return self._log.newest_first(change_filter(namespace, [parse(model).model for model in models]))

    def follow(self, *models: str, stale_most_s: float = STALE_MOST_S) -> Following:
        """What references of these models mean, kept current in memory, so that `version` of it needs no call."""
        return Following(
            models,
            watch=lambda names: self.changes(None, follow=True, models=names),
            version=self.version,
            aliases=self.aliases,
            stale_most_s=stale_most_s,
        )

    # Files

    def push(
        self,
        directory: str | os.PathLike[str],
        name: str,
        *,
        format: str | None = None,
        source: str = "",
        alias: str | None = None,
        bases: Sequence[str] = (),
        parents: Sequence[records.Parent] = (),
        create_namespace: bool = False,
        progress: Progress | None = None,
        request_id: str = "",
    ) -> records.PushResult:
        """Publish a directory as the next version of `name`; `modelzoo.push.push` states the rest.

        `bases` are references of versions whose blobs need not be sent; the model's latest is one anyway, and `parents`
        are: what the version was made from, which its lineage tells.
        """
        model = parse(name)
        versions = [self.version(base) for base in (*bases, *(parent.reference for parent in parents))]
        return push(
            self._channel,
            Path(directory),
            model,
            format=format,
            source=source,
            alias=alias,
            bases=[Base(parse(version.model).namespace, version.manifest_digest) for version in versions],
            parents=parents,
            create_namespace=create_namespace,
            progress=progress,
            request_id=request_id,
        )

    def pull(
        self, ref: str, directory: str | os.PathLike[str] | None = None, *, progress: Progress | None = None
    ) -> Path:
        """The directory with the version's files: `directory`, or one in the local cache that must not be written to.

        `download` says more.
        """
        return self.download(ref, directory, progress=progress).path

    def download(
        self,
        ref: str,
        directory: str | os.PathLike[str] | None = None,
        *,
        only: Sequence[str] | None = None,
        force: bool = False,
        progress: Progress | None = None,
    ) -> records.PullResult:
        """Pull the version through the local cache: only files it lacks are fetched, and every byte is verified.

        With `directory`, its files appear there all at once, as copies. LOCAL_PATH_INVALID where it is not empty;
        with `force`, files of the same names are replaced and others stay. `only` are glob patterns of paths.
        """
        return pull_version(
            self._channel,
            _cache(),
            self.version(ref),
            directory=None if directory is None else Path(directory),
            only=only,
            force=force,
            progress=progress,
        )

    @contextmanager
    def hold(self, ref: str, *, progress: Progress | None = None) -> Generator[records.PullResult]:
        """The version's files in the cache, pulled if need be, and kept there for the length of the block."""
        with hold_version(self._channel, _cache(), self.version(ref), progress=progress) as result:
            yield result

    # Tensors

    def tensor_infos(self, ref: str) -> tuple[records.TensorInfo, ...]:
        """The version's tensors by name: dtype, shape and place of each, from the headers of its files alone.

        Shards are one namespace; `modelzoo.tensor_index` says how names are told apart. Headers are kept in the cache.
        """
        return tensor_infos(stored(self._channel, self.version(ref)))

    def tensors(
        self,
        ref: str,
        pattern: str = "*",
        index: Index | tuple[Index, ...] | None = None,
        *,
        into: Library | None = None,
    ) -> dict[str, Any]:
        """The version's tensors whose names match the glob pattern, as arrays by name, without the rest of the version.

        `index` (a slice, a number, or a tuple of them, as numpy takes) is taken from each; where it names a contiguous
        part, no other bytes are fetched. Arrays are torch's where torch is installed, else numpy's; `into` chooses.
        Whole blobs are verified here, parts of a blob by the service alone (`modelzoo.file_bytes`).
        TENSOR_NOT_FOUND, TENSOR_INDEX_INVALID; TENSOR_DTYPE_UNSUPPORTED where the library has no such numbers.
        """
        return read_tensors(stored(self._channel, self.version(ref)), pattern, index, into)

    def diff(
        self,
        a: str | os.PathLike[str],
        b: str | os.PathLike[str],
        *,
        norms: bool | None = None,
        progress: Progress | None = None,
    ) -> Diff:
        """What changed from `a` to `b`: settings, files, tensors, and how much, metrics; what both have is not fetched.

        Each is a reference, or a local directory: a path object, or text that begins with `.`, `/` or `~`. `norms` are
        computed if True, not if False, and by default as long as they take little reading
        (`modelzoo.version_diff.compare`).
        """
        return diff_sides(self, self._channel, (a, b), norms=norms, progress=progress)

    # The zoo itself

    def whoami(self) -> records.Principal:
        """Whom the key stands for, and its roles."""
        return self.access.whoami()

    def workers(self) -> list[records.Worker]:
        """The workers that serve now, and what they hold."""
        with translated():
            found = self._workers.ListWorkers(worker_service_pb2.ListWorkersRequest()).workers
        return [wire.worker(worker) for worker in found]


def _cache() -> NodeCache:
    settings = config.cache_config()
    return NodeCache(settings.root, settings.budget_bytes)
