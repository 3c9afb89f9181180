"""Making and changing namespaces, of which the artifact service is told what it enforces: it asks nobody."""

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
        """As `Namespaces.update`. Told first: what the catalog says to be refused is refused."""
        if edit.policy.allow_opaque is not None:
            before = await self._namespaces.get(name)
            check_etag(etag, before.etag, f"the namespace '{before.name}'")
            await self._artifacts.allow_opaque(before.name, edit.policy.allow_opaque)
        return await self._namespaces.update(name, edit, etag, actor)
