"""Whether, and how, an alias moves to what a job made.

An alias moves by compare-and-swap on its etag, which is kept before: so a crash moves it once. Whoever moved it since,
a person who went back to the version of before for example, is not overruled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from modelzoo.errors import Aborted, FailedPrecondition
from zoo_store.sql import Database
from zoo_training.catalog import Catalog, CatalogAlias
from zoo_training.job import Measured
from zoo_training.schema import publications
from zoo_training.spec import Promotion, PromotionRule

__all__ = ["Candidate", "Promoter"]

ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version, `namespace/name@number`, that may get an alias of its model, and what decides: its metric, and that of
    others as measured with the same dataset. `base` is what it was trained from; `measured` has its metric too."""

    job: str
    reference: str
    promotion: Promotion
    dataset: str
    metric: str
    lower_is_better: bool
    base: str
    measured: Sequence[Measured]


class Promoter:
    def __init__(self, database: Database, catalog: Catalog) -> None:
        self._database = database
        self._catalog = catalog

    async def promote(self, candidate: Candidate) -> str:
        """Move the alias if its rule says so. What became of it, in a sentence; '' where there is nothing to promote.

        Doing it again changes nothing. Raises DEPENDENCY_UNAVAILABLE and what else means: try again.
        """
        alias = candidate.promotion.alias
        if not alias:
            return ""
        model, _, number = candidate.reference.partition("@")
        for _ in range(ATTEMPTS):
            now = await self._catalog.alias(model, alias)
            if now.versions == (int(number),):
                return f"'{alias}' means {candidate.reference}"
            kept = await self._kept(candidate.job)
            if kept is not None and kept != now.etag:
                return f"'{alias}' was moved by somebody else since, and stays where it is"
            refusal = await self._refusal(candidate, model, now)
            if refusal:
                return refusal
            await self._keep(candidate.job, now.etag)
            try:
                await self._catalog.move_alias(model, alias, int(number), now.etag)
            except Aborted:
                # Somebody was faster: what they moved it to is compared with as well.
                await self._forget(candidate.job)
                continue
            except FailedPrecondition as error:
                return f"'{alias}' does not move to {candidate.reference}: {error.message}"
            return f"'{alias}' means {candidate.reference}"
        raise Aborted("ETAG_MISMATCH", f"'{alias}' of {model} is moved by others all the time: it is tried again")

    async def _refusal(self, candidate: Candidate, model: str, now: CatalogAlias) -> str:
        """Why the rule says no; '' where it says yes."""
        if candidate.promotion.rule is PromotionRule.ALWAYS or not now.versions:
            return ""
        alias, metric = candidate.promotion.alias, candidate.metric
        mine = next((each for each in candidate.measured if each.metric == metric), None)
        if mine is None:
            return f"'{alias}' stays where it is: {candidate.reference} has no {metric or 'metric'} to compare"
        for number in now.versions:
            reference = f"{model}@{number}"
            theirs = await self._metric(candidate, reference, mine)
            if theirs is None:
                return (
                    f"'{alias}' stays where it is: {reference} has no {metric} on the split '{mine.split}' of "
                    f"{candidate.dataset}; measure it, or move the alias by hand"
                )
            gain = theirs - mine.after if candidate.lower_is_better else mine.after - theirs
            if gain <= 0 or gain < candidate.promotion.margin:
                return (
                    f"'{alias}' stays where it is: {metric} is {mine.after:.4g}, and {theirs:.4g} of {reference} with "
                    f"a margin of {candidate.promotion.margin:g} is not surpassed"
                )
        return ""

    async def _metric(self, candidate: Candidate, reference: str, mine: Measured) -> float | None:
        """The metric of another version on the same split of the same dataset; None where it was never measured."""
        metrics: Mapping[tuple[str, str, str], float] = (await self._catalog.version(reference)).metrics
        known = metrics.get((candidate.dataset, mine.split, mine.metric))
        return mine.before if known is None and reference == candidate.base else known

    async def _kept(self, job: str) -> str | None:
        async with self._database.read() as connection:
            found = await connection.scalar(select(publications.c.alias_etag).where(publications.c.job == job))
        return found or None

    async def _keep(self, job: str, etag: str) -> None:
        row = insert(publications).values(job=job, alias_etag=etag)
        async with self._database.write() as connection:
            await connection.execute(
                row.on_conflict_do_update(index_elements=[publications.c.job], set_={"alias_etag": etag})
            )

    async def _forget(self, job: str) -> None:
        """After a refused move: it is certain that nothing was moved."""
        await self._keep(job, "")
