"""Which models are in memory: loaded on first use, once for all who ask, evicted by least recent use when idle."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, Protocol, TypeVar

from zoo_inference.catalog import Version
from zoo_inference.placement import Placement, too_large

__all__ = ["Loaded", "Residency", "Resident"]


class Loaded(Protocol):
    """A model in memory; `close` gives the memory back."""

    @property
    def size_bytes(self) -> int: ...

    async def close(self) -> None: ...


M = TypeVar("M", bound=Loaded)


class Resident(Generic[M]):
    """A version in memory, or on its way there (then `model` is None)."""

    def __init__(self, version: Version, size_bytes: int) -> None:
        self.version = version
        self.size_bytes = size_bytes
        self.model: M | None = None
        self.users = 0
        self.last_used = 0


class Residency(Generic[M]):
    """Models within `budget_bytes`. `load` brings one; `place` says what it will take, or raises MODEL_TOO_LARGE.

    `on_change` is called when what is loaded or loading changes; it must be quick.
    """

    def __init__(
        self,
        budget_bytes: int,
        place: Callable[[Version], Placement],
        load: Callable[[Version, Placement], Awaitable[M]],
        on_change: Callable[[], None],
    ) -> None:
        self.budget_bytes = budget_bytes
        self._place = place
        self._load = load
        self._on_change = on_change
        self._residents: dict[str, Resident[M]] = {}
        # No longer to be used by anybody new, and still used.
        self._leaving: list[Resident[M]] = []
        self._loading: dict[str, asyncio.Task[M]] = {}
        self._uses = itertools.count(1)
        self._one_load = asyncio.Lock()
        self._freed = asyncio.Event()

    @property
    def residents(self) -> list[Resident[M]]:
        return list(self._residents.values())

    @property
    def used_bytes(self) -> int:
        """Bytes that loaded models take."""
        held = [*self._residents.values(), *self._leaving]
        return sum(resident.size_bytes for resident in held if resident.model is not None)

    @asynccontextmanager
    async def use(self, version: Version) -> AsyncGenerator[M]:
        """The loaded model, which stays for the length of the block. Raises what loading raises."""
        resident = self._residents.get(version.key) or self._begin(version)
        resident.users += 1
        try:
            if resident.model is None:
                # Who stops waiting does not stop the load: others may wait for it.
                await asyncio.shield(self._loading[version.key])
            if resident.model is None:
                raise RuntimeError("loaded, but nothing is there")
            yield resident.model
        finally:
            resident.users -= 1
            resident.last_used = next(self._uses)
            if resident.users == 0 and resident in self._leaving:
                await self._leave(resident)
            self._freed.set()

    async def drop(self, key: str) -> None:
        """Nobody new gets the model of this key; its memory is given back when the last who uses it now has ended.

        One that is still loading stays.
        """
        resident = self._residents.get(key)
        if resident is None or resident.model is None:
            return
        if resident.users == 0:
            await self._evict(resident)
            self._freed.set()
        else:
            del self._residents[key]
            self._leaving.append(resident)
            self._on_change()

    async def close(self) -> None:
        """Stop loading and let go of everything."""
        loading = list(self._loading.values())
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)
        for resident in self.residents:
            await self._evict(resident)
        for resident in list(self._leaving):
            await self._leave(resident)

    def _begin(self, version: Version) -> Resident[M]:
        placement = self._place(version)
        key = version.key
        resident: Resident[M] = Resident(version, placement.size_bytes)
        self._residents[key] = resident
        task = self._loading[key] = asyncio.ensure_future(self._bring(resident, placement))
        task.add_done_callback(lambda done: self._brought(key, done))
        self._on_change()
        return resident

    async def _bring(self, resident: Resident[M], placement: Placement) -> M:
        # One at a time: two at once would each see the room that is left for one.
        async with self._one_load:
            await self._make_room(resident.size_bytes)
            model = await self._load(resident.version, placement)
            try:
                if model.size_bytes > self.budget_bytes:
                    raise too_large(model.size_bytes, self.budget_bytes)
                # What was said beforehand may have been too little.
                await self._make_room(model.size_bytes)
            except BaseException:
                await model.close()
                raise
            resident.size_bytes, resident.model = model.size_bytes, model
            return model

    def _brought(self, key: str, task: asyncio.Task[M]) -> None:
        del self._loading[key]
        # Asking for the exception also marks it as seen, should nobody wait any more.
        if task.cancelled() or task.exception() is not None:
            del self._residents[key]
        self._freed.set()
        self._on_change()

    async def _make_room(self, size_bytes: int) -> None:
        """Evict until there is room; wait for requests to end where what they use takes too much."""
        while self.used_bytes + size_bytes > self.budget_bytes:
            self._freed.clear()
            idle = [one for one in self._residents.values() if one.model is not None and one.users == 0]
            if idle:
                await self._evict(min(idle, key=lambda one: one.last_used))
            else:
                await self._freed.wait()

    async def _leave(self, resident: Resident[M]) -> None:
        self._leaving.remove(resident)
        self._on_change()
        if resident.model is not None:
            await resident.model.close()

    async def _evict(self, resident: Resident[M]) -> None:
        del self._residents[resident.version.key]
        self._on_change()
        if resident.model is not None:
            await resident.model.close()
