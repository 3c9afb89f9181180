"""Which recipe a job gets, and whether it can learn from the dataset: functions of what catalog and trainers say."""

from collections.abc import Iterable, Sequence

from modelzoo.errors import FailedPrecondition, InvalidArgument, ZooError
from zoo_training.catalog import CatalogVersion, Column, Dataset
from zoo_training.parameters import nearest
from zoo_training.recipe import Recipe, fits, missing_columns
from zoo_training.recipes import RegisteredTrainers, Trainer
from zoo_training.spec import JobSpec

__all__ = ["check_base", "check_dataset", "check_processes", "choose_recipe", "find_recipe", "require_trainer"]

TRAIN = "train"
# A column of this name holds classes, of which there must be two to learn anything.
LABEL = "label"
SHOWN_MOST = 20


def find_recipe(name: str, known: Sequence[Recipe]) -> Recipe:
    """The recipe of this name, or RECIPE_UNKNOWN with the nearest one."""
    by_name = {recipe.name: recipe for recipe in known}
    found = by_name.get(name)
    if found is not None:
        return found
    near = nearest(name, [known_name.replace("-", "_") for known_name in by_name]).replace("_", "-")
    names = ", ".join(sorted(by_name)) or "none: start a trainer, which brings them"
    advice = f"did you mean '{near}'?" if near else f"there are {names}"
    raise InvalidArgument(
        "RECIPE_UNKNOWN",
        f"no trainer has brought a recipe {name!r}: {advice}",
        field="spec.recipe",
        metadata={"recipe": name, "nearest": near},
    )


def choose_recipe(base: CatalogVersion, dataset: CatalogVersion, known: Sequence[Recipe]) -> Recipe:
    """The one recipe that starts from the base's task and finds its columns in the dataset.

    Of several the one that leaves the task as it is. Raises TASK_MISMATCH, COLUMN_MISSING, or RECIPE_UNKNOWN where
    none or several would do.
    """
    if not known:
        raise InvalidArgument("RECIPE_UNKNOWN", "no recipe is known: start a trainer, which brings them")
    of_task = [recipe for recipe in known if fits(recipe, base.task)]
    if not of_task:
        raise _task_mismatch(base, known)
    found = [recipe for recipe in of_task if not missing_columns(recipe, _names(dataset))]
    if not found:
        raise _no_columns(base, dataset, of_task)
    same_task = [recipe for recipe in found if recipe.task == base.task]
    best = same_task or found
    if len(best) > 1:
        names = sorted(recipe.name for recipe in best)
        raise InvalidArgument(
            "RECIPE_UNKNOWN",
            f"several recipes fit {base.reference} and {dataset.reference}: name one of {', '.join(names)}",
            field="spec.recipe",
            metadata={"recipes": ",".join(names)},
        )
    return best[0]


def check_base(recipe: Recipe, base: CatalogVersion) -> None:
    """Raise TASK_MISMATCH where the recipe cannot start from the base."""
    if not fits(recipe, base.task):
        raise _task_mismatch(base, [recipe])


def check_dataset(recipe: Recipe, base: CatalogVersion, dataset: CatalogVersion, facts: Dataset) -> None:
    """Raise TASK_MISMATCH, COLUMN_MISSING or DATASET_UNSUITABLE where the recipe cannot start from the base or learn
    from the dataset, as far as the catalog read its bytes."""
    check_base(recipe, base)
    if missing_columns(recipe, _names(dataset)):
        raise _no_columns(base, dataset, [recipe])
    for column in _needed(recipe, facts.columns):
        if column.optional:
            raise _unsuitable(
                dataset, f"some of its rows have no '{column.name}'", "publish a version without those rows"
            )
    train = next((split for split in facts.splits if split.name == TRAIN), None)
    if train is None:
        names = ", ".join(split.name for split in facts.splits)
        raise _unsuitable(dataset, f"it has no split '{TRAIN}' (but {names})", f"publish one with a split '{TRAIN}'")
    if train.rows == 0:
        raise _unsuitable(dataset, f"its split '{TRAIN}' is empty", "publish one with rows to learn from")
    if len(train.labels) == 1 and any(LABEL in wanted.split("|") for wanted in recipe.columns):
        only = next(iter(train.labels))
        raise _unsuitable(
            dataset, f"all rows of its split '{TRAIN}' have the label {only[:80]!r}", "add rows of another label"
        )


def check_processes(recipe: Recipe, processes: int) -> None:
    """Raise FIELD_INVALID for several where the recipe is computed by one."""
    if recipe.single_process and processes > 1:
        raise InvalidArgument(
            "FIELD_INVALID",
            f"spec.processes: jobs of the recipe '{recipe.name}' are of one process: leave it out. "
            f"{recipe.single_process}",
            field="spec.processes",
            metadata={"field": "spec.processes"},
        )


def require_trainer(recipe: Recipe, spec: JobSpec, registered: RegisteredTrainers) -> None:
    """Raise TRAINER_MISSING unless a trainer that was seen lately could do it."""
    resource_class, executor, processes = spec.resource_class, spec.executor, spec.processes
    knowing = [trainer for trainer in registered.trainers if recipe.digest in trainer.descriptions]
    if any(trainer.serves(resource_class, executor, processes) for trainer in knowing):
        return
    there = sorted({_offer(one, executor) for one in knowing for executor in one.executors})
    advice = f"there are some for {', '.join(there)}" if there else "start one, and create the job again"
    raise FailedPrecondition(
        "TRAINER_MISSING",
        f"no trainer of the resource class '{resource_class}' that knows the recipe '{recipe.name}' and the executor "
        f"'{executor}'{_with(processes)} has been seen in the last minutes: {advice}",
        metadata={
            "resource_class": resource_class,
            "recipe": recipe.name,
            "executor": executor,
            "processes": str(processes),
        },
    )


def _offer(trainer: Trainer, executor: str) -> str:
    return f"{trainer.resource_class} by {executor}{_with(trainer.processes)}"


def _with(processes: int) -> str:
    return f" with {processes} processes" if processes > 1 else ""


def _names(dataset: CatalogVersion) -> list[str]:
    return [column.name for column in dataset.dataset.columns] if dataset.dataset else []


def _needed(recipe: Recipe, columns: Sequence[Column]) -> list[Column]:
    """Those that every row must fill: where a recipe takes one of several, rows may differ in which they have."""
    there = {column.name: column for column in columns}
    needed: list[Column] = []
    for wanted in recipe.columns:
        found = [there[name] for name in wanted.split("|") if name in there]
        if len(found) == 1:
            needed += found
    return needed


def _task_mismatch(base: CatalogVersion, recipes: Sequence[Recipe]) -> ZooError:
    task = f"its task is '{base.task}'" if base.task else "the catalog knows no task of it"
    starts = sorted({task for recipe in recipes for task in recipe.base_tasks})
    which = f"the recipe '{recipes[0].name}' starts" if len(recipes) == 1 else "the recipes start"
    return FailedPrecondition(
        "TASK_MISMATCH",
        f"{which} from models of the tasks {', '.join(starts)}, not from {base.reference}: {task}; "
        "choose another base, or another recipe",
        field="spec.base",
        metadata={"task": base.task, "base_tasks": ",".join(starts)},
    )


def _no_columns(base: CatalogVersion, dataset: CatalogVersion, recipes: Sequence[Recipe]) -> ZooError:
    names = _names(dataset)
    lacking = [f"'{recipe.name}' needs {_in_words(missing_columns(recipe, names))}" for recipe in recipes]
    has = ", ".join(names[:SHOWN_MOST]) + (", ..." if len(names) > SHOWN_MOST else "")
    return InvalidArgument(
        "COLUMN_MISSING",
        f"{dataset.reference} lacks what {base.reference} could be trained with: {'; '.join(lacking)}. It has the "
        f"columns {has}: rename them, or choose another recipe",
        field="spec.dataset",
        metadata={
            "columns": ",".join(sorted({c for recipe in recipes for c in missing_columns(recipe, names)})),
            "present": ",".join(names[:SHOWN_MOST]),
        },
    )


def _in_words(columns: Iterable[str]) -> str:
    return " and ".join(" or ".join(f"'{name}'" for name in wanted.split("|")) for wanted in columns)


def _unsuitable(dataset: CatalogVersion, problem: str, advice: str) -> ZooError:
    return InvalidArgument(
        "DATASET_UNSUITABLE",
        f"nothing can be learned from {dataset.reference}: {problem}; {advice}",
        field="spec.dataset",
        metadata={"dataset": dataset.reference},
    )
