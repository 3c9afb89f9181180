"""The course of an attempt, in the child: from rows and a base to a pushed version, or to the reason why not."""

import traceback
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from modelzoo.errors import FailedPrecondition, InvalidArgument, ResourceExhausted
from zoo.training.v1 import event_pb2, job_pb2
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo_trainer.card import Run, write_card
from zoo_trainer.checkpoint import BEST, Record, read_record
from zoo_trainer.evaluation import Measurement
from zoo_trainer.failures import failure_of, is_out_of_memory
from zoo_trainer.keeping import Keeper, Pushes
from zoo_trainer.licence import licence_of
from zoo_trainer.loop import Loop, LossNotFinite, Standing, Validation
from zoo_trainer.plan import Plan, make_plan
from zoo_trainer.pushing import push_patiently
from zoo_trainer.ranks import Ranks
from zoo_trainer.recipes import Learner, Recipe, Start, TrainingSettings, find_recipe
from zoo_trainer.report import Report
from zoo_trainer.seeding import seed_all
from zoo_trainer.splits import Splits, divide
from zoo_trainer.stopping import Order, Orders, Stopped
from zoo_trainer.task import Task
from zoo_trainer.tensors import put_tensors
from zoo_trainer.usage import Usage

__all__ = ["run_attempt"]

SEED = 42  # where a job says none


def run_attempt(
    task: Task,
    report: Report,
    pushes: Pushes,
    orders: Orders,
    find: Callable[[str], Recipe] = find_recipe,
    *,
    meet: Callable[[], Ranks] = Ranks,
    beside: Callable[[], Executor] = lambda: ThreadPoolExecutor(1, "push"),
) -> pb.ReleaseJobRequest:
    """Train, measure, push; say what happens; return how it ended. Never raises.

    `meet` finds the other processes that compute the same training; of those that are not the first, nothing is pushed,
    and TRAINED has no result. `beside` opens what pushes checkpoints while training goes on.
    """
    try:
        with beside() as executor:
            course = _Course(task, report, pushes, orders, meet(), executor)
            return course.run(find(task.lease.job.spec.recipe))
    except Stopped:
        outcome = pb.OUTCOME_YIELDED if orders.last is Order.YIELD else pb.OUTCOME_STOPPED
        return pb.ReleaseJobRequest(outcome=outcome)
    # Whatever a recipe and the libraries below it raise is how this attempt ended.
    except Exception as error:  # noqa: BLE001
        failure = failure_of(error)
        report.log(
            traceback.format_exc() if failure.reason == "TRAINER_CRASHED" else failure.message, event_pb2.SEVERITY_ERROR
        )
        return pb.ReleaseJobRequest(outcome=failure.outcome, reason=failure.reason, message=failure.message)


@dataclass(frozen=True, slots=True)
class _Trained:
    """What came out of the loop."""

    learner: Learner
    plan: Plan
    standing: Standing
    before: Measurement
    keeper: Keeper


class _Course:
    def __init__(
        self, task: Task, report: Report, pushes: Pushes, orders: Orders, ranks: Ranks, executor: Executor
    ) -> None:
        self._task = task
        self._report = report
        self._pushes = pushes
        self._orders = orders
        self._ranks = ranks
        self._executor = executor
        self._spec = task.lease.job.spec
        self._seed = self._spec.seed or SEED
        self._notes: list[str] = []
        self._used_before = Usage()

    def run(self, recipe: Recipe) -> pb.ReleaseJobRequest:
        settings = recipe.read_settings(self._task.parameters)
        if recipe.single_process and self._ranks.count > 1:  # as the service says, if its trainers told it so
            raise InvalidArgument(
                "PARAMETER_INVALID",
                f"{recipe.name} is computed by one process: ask for no more. {recipe.single_process}",
            )
        rows = self._task.folder / "rows"
        rows.mkdir()
        splits = divide(Path(self._task.place.dataset), rows, with_validation=self._spec.budget.patience > 0)
        for note in splits.notes:
            self._note(note, event_pb2.SEVERITY_WARNING if splits.repeated else event_pb2.SEVERITY_INFO)
        trained = self._train(recipe, settings, splits)
        if self._orders.stop:
            raise Stopped(self._orders.last)
        if not self._ranks.is_first:
            return pb.ReleaseJobRequest(outcome=pb.OUTCOME_TRAINED)
        return self._publish(recipe, settings, splits, trained)

    def _train(self, recipe: Recipe, settings: TrainingSettings, splits: Splits) -> _Trained:
        """Whenever memory ends, begin again from the last checkpoint with half as many examples at once."""
        resume = Path(self._task.place.checkpoint) if self._task.place.checkpoint else None
        most = 0
        while True:
            fit: _Fit | None = None
            try:
                fit = self._fit(recipe, settings, splits, resume, most)
                self._report.log(fit.said)
                return self._loop(recipe, settings, splits, fit)
            except LossNotFinite as error:
                raise self._explained(error, settings, fit) from error
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if self._ranks.count > 1:
                    raise self._too_large(fit) from error
                if fit is None:  # before the first example: less at once would not help
                    raise
                most = fit.plan.micro_batch // 2
                half = fit.plan.with_micro_batch(max(1, most))
                if most == 0 or half.micro_batch < recipe.least_at_once:
                    raise
                resume = fit.keeper.local or resume
            del fit
            self._note(
                f"Memory ended with {half.micro_batch * 2} examples at once: from now on {half.micro_batch} at once, "
                f"{half.accumulation} times for each step.{recipe.when_halved and f' {recipe.when_halved}'}",
                event_pb2.SEVERITY_WARNING,
            )

    def _fit(
        self, recipe: Recipe, settings: TrainingSettings, splits: Splits, resume: Path | None, most: int
    ) -> "_Fit":
        of = self._task.training(settings.model_dump(mode="json", exclude={"micro_batch_size"}))
        record = self._record(resume, of)
        seed_all(self._seed)
        notes: list[str] = []
        learner = recipe.start(
            Start(
                Path(self._task.place.base),
                self._task.lease.base.reference,
                splits.train,
                splits.held_out,
                settings,
                self._seed,
                notes,
                splits.validation,
            )
        )
        for note in notes:
            if note not in self._notes:
                self._note(note)
        plan = make_plan(
            settings, self._spec.budget, len(learner.rows), self._seed, self._ranks.count, recipe.least_at_once
        )
        if record is not None:
            plan = plan.with_micro_batch(record.micro_batch)
        if most:
            plan = plan.with_micro_batch(most)
        before = self._before(record, learner, splits, plan)
        if record is not None:
            self._used_before = record.used
        keeper = Keeper(
            report=self._report,
            pushes=self._pushes,
            executor=self._executor,
            of=of,
            steps=plan.steps,
            steps_per_epoch=plan.steps_per_epoch,
            micro_batch=plan.micro_batch,
            before=before.to_json(),
            used=self._used,
            last_step=record.step if record is not None else 0,
        )
        return _Fit(learner, plan, before, keeper, resume if record is not None else None, record)

    def _before(self, record: Record | None, learner: Learner, splits: Splits, plan: Plan) -> Measurement:
        if record is not None and record.before is not None:
            return Measurement.from_json(record.before)
        if not self._ranks.is_first:
            return Measurement({}, 0)
        if torch.cuda.is_available():  # where the loop will have it, too
            learner.model.cuda()
        return learner.measure(splits.held_out, plan.micro_batch, self._orders)

    def _record(self, resume: Path | None, of: dict[str, Any]) -> Record | None:
        """That of the checkpoint; None, and a warning, where it cannot be gone on from."""
        if resume is None:
            return None
        try:
            return read_record(resume, of)
        except FailedPrecondition as error:
            self._report.log(f"{error.message} Training begins again at step 0.", event_pb2.SEVERITY_WARNING)
            return None

    def _loop(self, recipe: Recipe, settings: TrainingSettings, splits: Splits, fit: "_Fit") -> _Trained:
        validation = Validation(splits.validation, recipe.metric, recipe.lower_is_better) if splits.validation else None
        standing = fit.standing()
        folder = self._task.folder / f"checkpoints-{fit.plan.micro_batch}"
        folder.mkdir(exist_ok=True)
        seed_all(self._seed)
        self._orders.check()
        loop = Loop(
            fit.learner, fit.plan, settings, validation, self._orders, fit.keeper, folder, standing, self._ranks
        )
        trained = _Trained(fit.learner, fit.plan, standing, fit.before, fit.keeper)
        if fit.resume is not None and fit.is_done(standing):
            loop.restore(fit.resume)
        else:
            # Nothing else is pushed beside a checkpoint, and what is said of the last one is true.
            try:
                loop.run(fit.resume)
            except Exception:
                fit.keeper.settle()
                raise
            fit.keeper.wait()
        if not self._orders.stop and standing.best_tensors is not None:
            put_tensors(fit.learner.model, standing.best_tensors, BEST)
        return trained

    def _publish(
        self, recipe: Recipe, settings: TrainingSettings, splits: Splits, trained: _Trained
    ) -> pb.ReleaseJobRequest:
        learner, standing, task = trained.learner, trained.standing, self._task
        folder = task.folder / "result"
        folder.mkdir()
        learner.save(folder)
        # After saving, which rounds: what is measured is what is published.
        after = learner.measure(splits.held_out, trained.plan.micro_batch, self._orders)
        parameters = list(learner.model.parameters())
        counts = [sum(each.numel() for each in parameters if each.requires_grad or not only) for only in (True, False)]
        used = {name: float(value) for name, value in asdict(self._used()).items() if value}
        used |= {"wall_seconds": standing.seconds, "examples": float(standing.examples)}
        budget = self._spec.budget
        run = Run(
            job=task.lease.job.name,
            output=self._spec.output,
            task=recipe.task,
            base=task.lease.base.reference,
            base_digest=task.lease.base.manifest_digest,
            dataset=task.lease.dataset.reference,
            dataset_digest=task.lease.dataset.manifest_digest,
            recipe=recipe.name,
            # With a budget of steps or epochs, the recipe's own epochs did not count.
            settings=settings.model_dump(mode="json", exclude={"epochs"} if budget.steps or budget.epochs else None),
            seed=self._seed,
            steps=standing.step,
            train_rows=len(splits.train),
            split=splits.held_out_name,
            before=trained.before,
            after=after,
            best_step=standing.best_step,
            used=used,
            parameters=counts[1],
            trained_parameters=counts[0],
            is_adapter=learner.is_adapter,
            notes=self._notes,
            licence=licence_of(Path(task.place.base)),
        )
        write_card(folder, run)
        pushed = push_patiently(self._pushes, folder, "adapter" if learner.is_adapter else "transformers", self._orders)
        self._report.log(f"The result has {pushed.size_bytes:,} bytes, of which {pushed.sent_bytes:,} were new.")
        result = pb.Result(
            manifest_digest=pushed.digest,
            measured=_measured(trained.before, after, splits.held_out_name),
            adapter=learner.is_adapter,
            used=used,
        )
        return pb.ReleaseJobRequest(outcome=pb.OUTCOME_TRAINED, result=result)

    def _explained(self, error: LossNotFinite, settings: TrainingSettings, fit: "_Fit | None") -> FailedPrecondition:
        kept = fit.keeper.last_step if fit is not None else 0
        last = f"The last checkpoint, of step {kept}, is kept." if kept else "There was no checkpoint yet."
        return FailedPrecondition(
            "LOSS_NOT_FINITE",
            f"{error.message}. {last} Choose a lower learning_rate (it was {settings.learning_rate:g}) or a longer "
            "warmup, and look for values in the data that are no numbers.",
            metadata={"step": str(error.step)},
        )

    def _too_large(self, fit: "_Fit | None") -> ResourceExhausted:
        # To begin again with less at once, all of them would have to, and those that wait for this one cannot hear it.
        portion = f" with {fit.plan.micro_batch} examples at once" if fit is not None else ""
        return ResourceExhausted(
            "OUT_OF_MEMORY",
            f"Memory ended{portion} in {self._ranks.count} processes, where it is not tried again with fewer: set "
            "micro_batch_size to half of what each computed, or ask for fewer processes.",
        )

    def _note(self, text: str, severity: event_pb2.Severity.ValueType = event_pb2.SEVERITY_INFO) -> None:
        self._notes.append(text)
        self._report.log(text, severity)

    def _used(self) -> Usage:
        return self._ranks.used().after(self._used_before)


@dataclass(slots=True)
class _Fit:
    """All that a loop needs, ready."""

    learner: Learner
    plan: Plan
    before: Measurement
    keeper: Keeper
    resume: Path | None
    record: Record | None

    @property
    def said(self) -> str:
        plan = self.plan
        start = f"from the checkpoint of step {self.record.step}" if self.record is not None else "from the base"
        measured = ", ".join(f"{name} {value:.4f}" for name, value in self.before.metrics.items())
        return (
            f"Training {start}: {len(self.learner.rows):,} examples, {plan.steps:,} steps of {plan.batch_size} "
            f"({plan.micro_batch} at once). Before: {measured}."
        )

    def standing(self) -> Standing:
        if self.record is None:
            return Standing()
        record = self.record
        return Standing(record.step, record.seconds, record.examples, record.best, record.best_step, record.worse, None)

    def is_done(self, standing: Standing) -> bool:
        return standing.step >= self.plan.steps or standing.seconds >= self.plan.wall_s


def _measured(before: Measurement, after: Measurement, split: str) -> list[job_pb2.Measured]:
    measured: list[job_pb2.Measured] = []
    for name, value in after.metrics.items():
        each = job_pb2.Measured(metric=name, after=value, split=split, items=after.items)
        if name in before.metrics:
            each.before = before.metrics[name]
        if name in after.majority:
            each.majority = after.majority[name]
        measured.append(each)
    return measured
