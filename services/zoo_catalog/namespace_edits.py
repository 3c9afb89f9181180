"""Making and changing namespaces, of which the artifact service is told what it enforces: it asks nobody."""

from contextlib import suppress

from modelzoo.errors import NotFound, ZooError
from zoo_catalog.artifacts import Artifacts
from zoo_catalog.etags import check_etag
from zoo_catalog.namespaces import Namespace, NamespaceEdit, Namespaces, NewNamespace

__all__ = ["NamespaceEdits"]


class NamespaceEdits:
    """Raises what `Namespaces` raises, and DEPENDENCY_UNAVAILABLE: then the call is repeated, and tells it again."""

    def __init__(self, namespaces: Namespaces, artifacts: Artifacts) -> None:
        self._namespaces = namespaces
        self._artifacts = artifacts

    async def create(self, asked: NewNamespace, actor: str, request_id: str = "") -> Namespace:
        """As `Namespaces.create`. Told afterwards: a name that was taken is somebody else's."""
        made = await self._namespaces.create(asked, actor, request_id)
        if made.policy.allow_opaque:
            await self._artifacts.allow_opaque(made.name, made.policy.allow_opaque)
        return made

    async def update(self, name: str, edit: NamespaceEdit, etag: str, actor: str) -> Namespace:
        """As `Namespaces.update`. Told to refuse before the catalog says so, and to take what it says only afterwards:
        whatever breaks off in between, the stricter of the two holds.
        """
        allow_opaque = edit.policy.allow_opaque
        if allow_opaque is None:
            return await self._namespaces.update(name, edit, etag, actor)
        if not allow_opaque:
            before = await self._namespaces.get(name)
            check_etag(etag, before.etag, f"the namespace '{before.name}'")
            await self._artifacts.allow_opaque(before.name, allow_opaque)
        try:
            updated = await self._namespaces.update(name, edit, etag, actor)
        except ZooError:
            if not allow_opaque:
                await self.tell(name)
            raise
        await self.tell(name)
        return updated

    async def tell_all(self) -> None:
        """Tell it of every namespace: an index made anew knows none, and an older one may take what is refused now."""
        async for name in self._namespaces.names():
            with suppress(NotFound):  # deleted since: nobody has a role there any more
                await self.tell(name)

    async def tell(self, name: str) -> None:
        """Tell what the catalog says, until it says the same afterwards: others may change and tell it meanwhile."""
        stored = await self._namespaces.get(name)
        while True:
            told = stored.policy.allow_opaque
            await self._artifacts.allow_opaque(stored.name, told)
            stored = await self._namespaces.get(name)
            if stored.policy.allow_opaque == told:
                return
