"""What becomes of a job that is trained: its version is published, and the job has succeeded; or it never can be."""

from modelzoo.errors import Aborted, DeadlineExceeded, Unavailable, ZooError
from zoo_server.behalf import acting_for
from zoo_server.principal import Behalf
from zoo_training.job import Job, Made
from zoo_training.publishing import Publisher, Result
from zoo_training.recipe import Recipe
from zoo_training.recipes import Recipes
from zoo_training.results import Results

__all__ = ["Publications"]

# It is tried again for them; anything else would be said again.
_PASSING = (Unavailable, DeadlineExceeded, Aborted)


class Publications:
    def __init__(self, publisher: Publisher, recipes: Recipes, results: Results) -> None:
        self._publisher = publisher
        self._recipes = recipes
        self._results = results

    async def publish(self, job: Job) -> None:
        """End a job that has its result and no version yet; doing it again finds what was done. Raises what means that
        it is to be tried again."""
        if job.made is None:
            return
        # As the job was checked by it: what it says of metrics may be another by now.
        recipe = await self._recipes.find(job.spec.recipe, job.recipe_digest) or Recipe(job.spec.recipe)
        try:
            with acting_for(Behalf(job.creator, job.name)):
                published = await self._publisher.publish(_result(job, job.made), recipe)
        except _PASSING:
            raise
        except ZooError as error:
            await self._results.fail(job.name, job.attempts, error.reason, _not_published(job, job.made, error))
            return
        message = "; ".join((f"published as {published.reference}", *published.remarks))
        await self._results.succeed(job.name, job.attempts, published.reference, message)


def _result(job: Job, made: Made) -> Result:
    return Result(job.name, job.spec, job.creator, made.manifest_digest, made.adapter, made.measured)


def _not_published(job: Job, made: Made, error: ZooError) -> str:
    """Its training is not lost: where it is."""
    return (
        f"it is trained, and could not be published: {error.message}. For a day its files stay in the namespace "
        f"'{job.namespace}' as sha256:{made.manifest_digest}: mend that, and create a version of them"
    )
