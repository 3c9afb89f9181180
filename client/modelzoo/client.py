"""The client: one object for everything that a user does with a zoo."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from modelzoo import config, records, wire
from modelzoo.access import Access
from modelzoo.cache import NodeCache
from modelzoo.calls import building, paged, translated
from modelzoo.channel import open_channel
from modelzoo.generation import Message
from modelzoo.inference import Inference
from modelzoo.manifest import Manifest
from modelzoo.progress import Progress
from modelzoo.pull import get_manifest, pull_version
from modelzoo.push import push
from modelzoo.reference import Alias, parse
from modelzoo.upkeep import Upkeep
from modelzoo.upload import Base
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import catalog_service_pb2_grpc as rpc
from zoo.catalog.v1 import model_pb2
from zoo.inference.v1 import worker_service_pb2, worker_service_pb2_grpc

__all__ = ["Client", "Message"]


class Client(Inference):
    """A connection to a zoo, for any number of threads. Close it, or use it in a `with`.

    Without arguments, address and key are those of `ZOO_URL` and `ZOO_KEY` or of `~/.config/zoo/config.toml`. Every
    method raises a ZooError: what the server refuses, REFERENCE_INVALID before anything is sent, SERVER_UNREACHABLE.
    Models are run by the methods of Inference; keys and grants are in `access`, sweeping and checking in `upkeep`. A
    reference is `name` or `namespace/name`, and perhaps `@alias`, `@version` or `@sha256:digest`.
    """

    def __init__(self, url: str | None = None, key: str | None = None) -> None:
        given = {name: value for name, value in (("ZOO_URL", url), ("ZOO_KEY", key)) if value}
        found = config.load({**os.environ, **given})
        self.url = found.url
        self._channel = open_channel(found.url, found.key)
        super().__init__(self._channel)
        self.access = Access(self._channel)
        self.upkeep = Upkeep(self._channel)
        self._catalog = rpc.CatalogServiceStub(self._channel)
        self._workers = worker_service_pb2_grpc.WorkerServiceStub(self._channel)

    def close(self) -> None:
        """End the connection and every call on it. Closing twice is harmless."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Finding

    def models(self, namespace: str = "") -> Iterator[records.Model]:
        """The models that the caller may see, by name, asked for page by page; of one namespace, if given."""

        def fetch(token: str) -> tuple[Sequence[records.Model], str]:
            page = self._catalog.ListModels(pb.ListModelsRequest(namespace=namespace, page_token=token))
            return [wire.model(model) for model in page.models], page.next_page_token

        return paged(fetch)

    def model(self, ref: str) -> records.Model:
        """The model that the reference names, with its card."""
        with translated():
            return wire.model(self._catalog.GetModel(pb.GetModelRequest(name=parse(ref).model)).model)

    def version(self, ref: str) -> records.Version:
        """The version that the reference means now; one by weight where an alias has several."""
        with translated():
            return wire.version(self._catalog.GetVersion(pb.GetVersionRequest(reference=str(parse(ref)))).version)

    def versions(self, ref: str) -> Iterator[records.Version]:
        """The model's versions, highest first, deleted ones left out."""
        name = parse(ref).model

        def fetch(token: str) -> tuple[Sequence[records.Version], str]:
            page = self._catalog.ListVersions(pb.ListVersionsRequest(model=name, page_token=token))
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
        with translated():
            return wire.alias(self._catalog.GetAlias(pb.GetAliasRequest(model=parse(ref).model, alias=alias)).alias)

    def aliases(self, ref: str) -> Iterator[records.Alias]:
        """The model's aliases, by name."""
        name = parse(ref).model

        def fetch(token: str) -> tuple[Sequence[records.Alias], str]:
            page = self._catalog.ListAliases(pb.ListAliasesRequest(model=name, page_token=token))
            return [wire.alias(alias) for alias in page.aliases], page.next_page_token

        return paged(fetch)

    def set_alias(
        self, ref: str, alias: str, targets: int | Iterable[records.AliasTarget], *, etag: str = ""
    ) -> records.Alias:
        """Move the alias, or make it: to one version, or to several by weight.

        With `etag`, only if it is still the alias's (`absent`: if there is none yet); else ETAG_MISMATCH.
        """
        if isinstance(targets, int):
            targets = [records.AliasTarget(targets, 1)]
        with building():
            moved = model_pb2.Alias(
                model=parse(ref).model,
                alias=Alias(alias).name,
                targets=[model_pb2.AliasTarget(version=target.version, weight=target.weight) for target in targets],
            )
        with translated():
            return wire.alias(self._catalog.SetAlias(pb.SetAliasRequest(alias=moved, etag=etag)).alias)

    def delete_alias(self, ref: str, alias: str, *, etag: str = "") -> None:
        """Remove the alias; with `etag`, only if it is still the alias's."""
        request = pb.DeleteAliasRequest(model=parse(ref).model, alias=alias, etag=etag)
        with translated():
            self._catalog.DeleteAlias(request)

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
        create_namespace: bool = False,
        progress: Progress | None = None,
    ) -> records.PushResult:
        """Publish a directory as the next version of `name`; `modelzoo.push.push` states the rest.

        `bases` are references of versions whose blobs need not be sent; the model's latest is one anyway.
        """
        model = parse(name)
        versions = [self.version(base) for base in bases]
        return push(
            self._channel,
            Path(directory),
            model,
            format=format,
            source=source,
            alias=alias,
            bases=[Base(parse(version.model).namespace, version.manifest_digest) for version in versions],
            create_namespace=create_namespace,
            progress=progress,
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
        settings = config.cache_config()
        return pull_version(
            self._channel,
            NodeCache(settings.root, settings.budget_bytes),
            self.version(ref),
            directory=None if directory is None else Path(directory),
            only=only,
            force=force,
            progress=progress,
        )

    # The zoo itself

    def whoami(self) -> records.Principal:
        """Whom the key stands for, and its roles."""
        return self.access.whoami()

    def workers(self) -> list[records.Worker]:
        """The workers that serve now, and what they hold."""
        with translated():
            response = self._workers.ListWorkers(worker_service_pb2.ListWorkersRequest())
        return [wire.worker(worker) for worker in response.workers]
