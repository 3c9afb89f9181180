"""The training loop: transformers' Trainer, with our own data order, saving, loading, evaluation and stopping.

Nothing of the Trainer's own saving is left: it pickles.
"""

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import nn
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from modelzoo.errors import FailedPrecondition
from zoo_trainer.checkpoint import BEST, MODEL, load_optimizer, load_random, save_optimizer, save_random
from zoo_trainer.drawing import EpochLoader, StandIn, open_loader
from zoo_trainer.limits import used_memory_bytes
from zoo_trainer.plan import Plan
from zoo_trainer.ranks import BACKEND, Ranks
from zoo_trainer.recipes.learner import Learner
from zoo_trainer.recipes.settings import Precision, Schedule, TrainingSettings
from zoo_trainer.rows import Rows
from zoo_trainer.seeding import seed_all
from zoo_trainer.stopping import Order, Orders
from zoo_trainer.tensors import changing_tensors, load_tensors, put_tensors, save_tensors, still_modules

__all__ = ["Hears", "Loop", "LossNotFinite", "Standing", "Validation"]

# A report at each step would be more words than work where steps are short; a checkpoint as often would be more bytes.
REPORT_S = 1.0
CHECKPOINT_S = 120.0
STATE = "trainer_state.json"  # as the Trainer looks for it
_ORDERS = tuple(Order)
_SCHEDULES = {Schedule.LINEAR: "linear", Schedule.COSINE: "cosine", Schedule.CONSTANT: "constant_with_warmup"}


class LossNotFinite(FailedPrecondition):
    """LOSS_NOT_FINITE at a step; the weights are as they were before it."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__("LOSS_NOT_FINITE", f"{what} at step {step}")
        self.step = step


@dataclass(slots=True)
class Standing:
    """How far a training is, over all attempts."""

    step: int = 0
    seconds: float = 0.0
    examples: int = 0
    best: float | None = None
    best_step: int = 0
    worse: int = 0
    best_tensors: dict[str, torch.Tensor] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Validation:
    """What says when to stop: these rows, by this metric."""

    rows: Rows
    metric: str
    lower_is_better: bool

    def is_better(self, value: float, best: float | None) -> bool:
        if best is None:
            return math.isfinite(value)
        return value < best if self.lower_is_better else value > best


class Hears(Protocol):
    """Who is told of the training."""

    def metrics(self, standing: Standing, values: dict[str, float]) -> None:
        """Numbers at the standing's step."""
        ...

    def is_keeping(self) -> bool:
        """Whether a checkpoint is on its way still. Raises what the last one failed of."""
        ...

    def checkpoint(self, folder: Path, standing: Standing) -> None:
        """A folder has all of the state but checkpoint.json; keep it, beside the training. Waits for the one before,
        and raises what that failed of."""
        ...


class Loop(Trainer):
    """Trains the learner's model in place by the plan; `run` ends at the plan's end, at an order, or as `Hears`
    raises. Raises LossNotFinite, and what torch raises where memory ends."""

    def __init__(
        self,
        learner: Learner,
        plan: Plan,
        settings: TrainingSettings,
        validation: Validation | None,
        orders: Orders,
        hears: Hears,
        folder: Path,
        standing: Standing,
        ranks: Ranks,
    ) -> None:
        self.ranks = ranks
        self.learner = learner
        self.plan = plan
        self.validation = validation
        self.given = orders
        # Those that all ranks follow, as of the last step: there, the first tells the others what it was given.
        self.orders = Orders() if ranks.count > 1 and ranks.is_first else orders
        self.hears = hears
        self.folder = folder
        self.standing = standing
        self.rows_done = 0
        self.step_loss, self.loss_sum, self.loss_steps = 0.0, 0.0, 0
        self.last_norm = 0.0
        self._still = list(still_modules(learner.model))
        self._loader: EpochLoader | None = None
        cast(Any, super()).__init__(
            model=learner.model,
            args=_arguments(plan, settings, folder, ranks),
            train_dataset=learner.rows,
            callbacks=[_Conductor(self)],
        )
        self.remove_callback(PrinterCallback)
        # Losses are divided by the items of the whole step, here in `compute_loss`.
        self.model_accepts_loss_kwargs = True

    def run(self, resume: Path | None) -> None:
        """Train, from a checkpoint's folder if there is one."""
        try:
            cast(Any, self).train(resume_from_checkpoint=str(resume) if resume else None)
        finally:  # measuring and saving, which come next, encode, too
            if self._loader is not None:
                self._loader.close()

    def get_train_dataloader(self) -> Any:
        self._loader = open_loader(self.learner, self.plan, self.ranks)
        return self._loader

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> int:
        own = sum(self.learner.items(batch) for batch in batch_samples if not isinstance(batch, StandIn))
        return max(1, round(self.ranks.total(own)[0]))

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        for module in self._still:  # the Trainer has just put all of the model into training mode
            module.eval()
        loss = self.learner.loss(model, inputs) / num_items_in_batch
        if isinstance(inputs, StandIn):
            return loss * 0.0
        value = loss.detach().item()
        if self.ranks.count == 1:  # of several, none leaves the others alone
            self._check_loss(value)
        self.step_loss += value
        self.rows_done += len(next(iter(inputs.values())))
        return loss * self.ranks.count  # of gradients, the ranks take the mean

    def _check_loss(self, value: float) -> None:
        if not math.isfinite(value):
            raise LossNotFinite(self.state.global_step + 1, f"The loss became {value}")

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> float:
        loss, rows = self.ranks.total(self.step_loss, self.rows_done)
        self._check_loss(loss)
        self.loss_sum, self.step_loss, self.rows_done = self.loss_sum + loss, 0.0, round(rows)
        norm: Any = cast(Any, super())._get_grad_norm(model, grad_norm=grad_norm)
        self.last_norm = float(norm) if norm is not None else 0.0
        if not math.isfinite(self.last_norm):
            raise LossNotFinite(self.state.global_step + 1, f"The gradient became {self.last_norm}")
        return self.last_norm

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure on the validation split, and remember the tensors if they are the best so far; the first rank does,
        and the others hear whether to go on."""
        control = cast(Any, self).control
        values = self._evaluate_first() if self.ranks.is_first else {}
        control.should_training_stop = bool(self.ranks.agree(control.should_training_stop)[0])
        control.should_evaluate = False  # or the end of an epoch would ask again
        return values

    def _evaluate_first(self) -> dict[str, float]:
        validation, control = cast(Validation, self.validation), cast(Any, self).control
        with self._loader.resting() if self._loader is not None else nullcontext():
            measured = self.learner.measure(validation.rows, self.plan.micro_batch, self.given)
        value, standing = measured.metrics[validation.metric], self.standing
        if validation.is_better(value, standing.best):
            standing.best, standing.best_step, standing.worse = value, standing.step, 0
            standing.best_tensors = {
                name: tensor.detach().cpu().clone() for name, tensor in changing_tensors(self.learner.model).items()
            }
        else:
            standing.worse += 1
            if self.plan.patience and standing.worse >= self.plan.patience:
                control.should_training_stop = True
        self.hears.metrics(standing, {f"eval_{name}": each for name, each in measured.metrics.items()})
        return {f"eval_{name}": each for name, each in measured.metrics.items()}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Nothing: what there is to say goes to `Hears`."""

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        if not self.ranks.is_first:
            return
        folder = self.folder / f"step-{self.state.global_step}"
        folder.mkdir()
        save_tensors(changing_tensors(self.learner.model), folder / MODEL)
        if self.standing.best_tensors is not None:
            save_tensors(self.standing.best_tensors, folder / BEST)
        save_optimizer(cast(Any, self).optimizer, cast(Any, self).lr_scheduler, folder)
        save_random(folder)
        self.state.log_history = []
        self.state.save_to_json(str(folder / STATE))
        self.hears.checkpoint(folder, self.standing)

    def agree(self, late: bool) -> bool:
        """Whether it is too late for another step, and what is ordered, as the first rank has it."""
        if self.ranks.count == 1:
            return late
        late_first, number = self.ranks.agree(late, _ORDERS.index(self.given.last))
        self.orders.last = _ORDERS[number]
        return bool(late_first)

    def restore(self, folder: Path) -> None:
        """Set what training changes to what a checkpoint has. Raises CHECKPOINT_INVALID."""
        put_tensors(self.learner.model, load_tensors(folder / MODEL), "The checkpoint")
        if (folder / BEST).exists():
            self.standing.best_tensors = load_tensors(folder / BEST)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self.restore(Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: Any) -> None:
        load_optimizer(cast(Any, self).optimizer, cast(Any, self).lr_scheduler, Path(checkpoint))

    def _load_rng_state(self, checkpoint: Any) -> None:
        load_random(Path(checkpoint))

    def _load_scaler(self, checkpoint: Any) -> None:
        """There is none: numbers are float32 or bfloat16."""


class _Conductor(TrainerCallback):
    """What happens between two steps."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._began = self._reported = self._saved = time.monotonic()
        self._seconds = loop.standing.seconds
        self._examples = self._reported_examples = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began = self._reported = self._saved = time.monotonic()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        ranks = self._loop.ranks
        if not ranks.is_first:
            # What the first draws goes on from its checkpoint; what others draw follows from the step.
            seed_all(self._loop.plan.seed, ranks.rank, int(state.global_step))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        loop, plan, standing, now = self._loop, self._loop.plan, self._loop.standing, time.monotonic()
        step = standing.step = int(state.global_step)
        standing.seconds = self._seconds + now - self._began
        standing.examples += loop.rows_done
        self._examples += loop.rows_done
        loop.rows_done, loop.loss_steps = 0, loop.loss_steps + 1
        last = loop.agree(standing.seconds >= plan.wall_s) or step >= plan.steps
        if last or loop.orders.stop or now - self._reported >= REPORT_S or step == 1:
            self._report(now)
        if loop.orders.stop or last:
            control.should_training_stop = True
        if loop.validation is not None and not loop.orders.stop:
            control.should_evaluate = last or step % plan.evaluation_steps == 0
        if loop.orders.stop:
            control.should_save = loop.orders.keep
        elif not last:
            due, is_keeping = plan.checkpoint_steps, loop.hears.is_keeping()
            control.should_save = step % due == 0 if due else now - self._saved >= CHECKPOINT_S and not is_keeping

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._saved = time.monotonic()

    def _report(self, now: float) -> None:
        loop = self._loop
        if not loop.ranks.is_first:
            return
        elapsed = max(now - self._reported, 1e-9)
        values = {
            "loss": loop.loss_sum / loop.loss_steps,
            "learning_rate": float(cast(Any, loop).lr_scheduler.get_last_lr()[0]),
            "gradient_norm": loop.last_norm,
            "examples_per_second": (self._examples - self._reported_examples) / elapsed,
            "seconds_per_step": elapsed / loop.loss_steps,
            "memory_bytes": float(used_memory_bytes() + loop.ranks.others.memory_bytes),
        }
        if torch.cuda.is_available():
            values["gpu_memory_bytes"] = float(torch.cuda.memory_reserved() + loop.ranks.others.gpu_memory_bytes)
        loop.loss_sum, loop.loss_steps = 0.0, 0
        self._reported, self._reported_examples = now, self._examples
        loop.hears.metrics(loop.standing, values)


def _arguments(plan: Plan, settings: TrainingSettings, folder: Path, ranks: Ranks) -> TrainingArguments:
    has_gpus = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(folder),
        seed=plan.seed,
        max_steps=plan.steps,
        per_device_train_batch_size=plan.micro_batch,
        gradient_accumulation_steps=plan.accumulation,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=min(math.ceil(settings.warmup * plan.steps), plan.steps - 1),
        lr_scheduler_type=_SCHEDULES[settings.schedule],
        max_grad_norm=settings.gradient_norm,
        bf16=settings.precision is Precision.MIXED,
        gradient_checkpointing=settings.gradient_checkpointing,
        optim="adamw_torch_fused",  # as the Trainer has it by default; on CPUs, several times as fast
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=has_gpus,
        use_cpu=not has_gpus,
        ddp_backend=BACKEND if ranks.count > 1 and not has_gpus else None,
        # Some networks have layers that a loss does not reach: a pooler, the other half of a head.
        ddp_find_unused_parameters=True,
    )
