"""`zoo finetune`: from a model and data to a better model."""

from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.bars import progress_bar
from modelzoo.command.following import detaching, follow
from modelzoo.command.job_text import measured_rows
from modelzoo.command.plan_text import explain, told
from modelzoo.command.session import open_client
from modelzoo.command.sweeping import follow_sweep, read_choices
from modelzoo.command.terminal import answer, line, note, print_table

if TYPE_CHECKING:
    from modelzoo.client import Client
    from modelzoo.finetuning import Plan
    from modelzoo.records import Version
    from modelzoo.training_records import Job, JobSpec

__all__ = ["register"]

EXAMPLES = """\
Examples:

\b
  zoo finetune zoo/all-minilm-l6-v2 topics.jsonl --to team/topics
  zoo finetune zoo/efficientnet-lite0 ./digits --to team/digits --steps 200 --promote prod
  zoo finetune zoo/all-minilm-l6-v2 team/topics-data@3 --to team/topics --set learning_rate=3e-5 --detach
  zoo finetune zoo/all-minilm-l6-v2 topics.csv --to team/topics --dry-run
  zoo finetune zoo/all-minilm-l6-v2 topics.csv --to team/topics --resource-class gpu --processes 4
  zoo finetune zoo/all-minilm-l6-v2 topics.csv --to team/topics --try learning_rate=1e-5,3e-5,1e-4
  zoo finetune zoo/all-minilm-l6-v2 topics.csv --to team/topics --try learning_rate=1e-6..1e-3:log --trials 8
"""


def _some(value: float | None) -> float | None:
    """None is no limit; a limit of nothing would not be one either, to a job."""
    if value is not None and not value > 0:
        raise typer.BadParameter(f"{value:g} is not more than 0: leave it out for no limit.")
    return value


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("finetune", epilog=EXAMPLES)(finetune)


def finetune(
    base: Annotated[str, typer.Argument(metavar="BASE", help="The version to start from.")],
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A file (*.jsonl, *.csv, *.parquet), a folder (the same, pictures in folders by label, COCO, an audio "
            "manifest), or the reference of a dataset. What is there as a file is a file.",
        ),
    ],
    to: Annotated[str, typer.Option(metavar="NAMESPACE/NAME", help="The model that gets the new version.")],
    recipe: Annotated[
        str, typer.Option(metavar="NAME", help="How to train; chosen by the model and the data otherwise.")
    ] = "",
    set: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A parameter of the recipe (`zoo recipes NAME`); repeatable."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimizer steps at most.")] = None,
    epochs: Annotated[float | None, typer.Option(callback=_some, help="Times through the data at most.")] = None,
    minutes: Annotated[float | None, typer.Option(callback=_some, help="Minutes of training at most.")] = None,
    patience: Annotated[
        int, typer.Option(min=0, help="Stop after so many evaluations that were no better; 0: do not.")
    ] = 0,
    promote: Annotated[
        str,
        typer.Option(metavar="ALIAS", help="Move this alias to the result, if it is better than what it means now."),
    ] = "",
    margin: Annotated[float, typer.Option(min=0, help="Of --promote: by how much it must be better.")] = 0.0,
    priority: Annotated[int, typer.Option(min=-10, max=10, help="Higher ones are started first.")] = 0,
    resource_class: Annotated[
        str, typer.Option(metavar="CLASS", help="Which trainers may have it; `cpu` otherwise.")
    ] = "",
    executor: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="How a trainer runs it: `process`, on its own node, as otherwise; or `ray`, on Ray."
        ),
    ] = "",
    processes: Annotated[
        int,
        typer.Option(min=1, max=1024, help="Processes that compute it together, each its share of every batch."),
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, show_default="42", help="Where all that is random comes from.")] = 0,
    try_: Annotated[
        list[str] | None,
        typer.Option(
            "--try",
            metavar="NAME=VALUE,VALUE",
            help="Train once for each value, and for every combination where it is repeated; the best is promoted.",
        ),
    ] = None,
    trials: Annotated[
        int, typer.Option(min=0, max=256, help="Of --try: draw so often; values may be LOW..HIGH or LOW..HIGH:log.")
    ] = 0,
    detach: Annotated[bool, typer.Option("--detach", help="Do not follow: answer the job, and end.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check everything, the zoo's part too, and say what would be made and what it costs; send nothing.",
        ),
    ] = False,
) -> None:
    """Train a model with your data into a new version of another.

    Every row of local data is looked at first, and the zoo is asked whether it would take the job; then they are
    published as the dataset `NAMESPACE/NAME-data`, once for the same content. The recipe is the one that fits the
    model's task and the data's columns. The command follows the job and ends with 0 when the version is ready; Ctrl-C
    detaches, and the job goes on."""
    from modelzoo.finetuning import prepare
    from modelzoo.training_records import Budget, JobSpec, Promotion

    if trials and not try_:
        raise typer.BadParameter("it says how often to draw: say with --try what.", param_hint="--trials")
    if priority and try_:
        raise typer.BadParameter("the jobs of a sweep are equal: leave it out.", param_hint="--priority")
    if margin and not promote:
        raise typer.BadParameter("it is of --promote: say which alias is to move.", param_hint="--margin")
    budget = Budget(steps or 0, epochs or 0.0, minutes * 60 if minutes else None, patience)
    promotion = Promotion(promote, margin=margin)
    spec = JobSpec(
        base,
        "",
        to,
        recipe,
        resource_class=resource_class,
        budget=budget,
        promotion=promotion,
        seed=seed,
        executor=executor,
        processes=processes,
    )
    with open_client() as client:
        plan = prepare(client, spec, data, dict(_pair(text) for text in set or ()))
        choices = read_choices(plan.recipe, try_ or (), is_random=trials > 0)
        if "epochs" in choices and (steps or epochs):
            raise typer.BadParameter("with --steps or --epochs, epochs are not the recipe's: leave those out.")
        explain(plan, data, choices, trials)
        if choices:
            client.jobs.check_sweep(plan.spec, choices, trials=trials)
        if dry_run:
            answer(told(plan, choices, trials), lambda: None)
            return
        wanted = _published(client, plan)
        if choices:
            sweep = client.jobs.create_sweep(wanted, choices, trials=trials)
            note(f"sweep     {sweep.name} of {len(sweep.jobs)} jobs")
            if detach:
                answer(sweep, lambda: line(sweep.name))
            else:
                follow_sweep(client, sweep)
            return
        job = client.jobs.open(client.jobs.create(wanted, priority=priority).name)
        if detach:
            note(f"`zoo jobs watch {job.name}` follows it")
            answer(job.record, lambda: line(job.name))
            return
        note(f"job       {job.name}")
        with detaching(job.name, f"zoo jobs watch {job.name}", f"zoo jobs cancel {job.name}"):
            follow(job, aside=True)
            version = job.result()
    answer({"job": job.record, "version": version}, lambda: _print(job.record, version))


def _published(client: "Client", plan: "Plan") -> "JobSpec":
    from modelzoo.finetuning import publish

    if plan.local is None:
        return plan.spec
    with progress_bar(f"publishing {plan.spec.output}-data") as progress:
        wanted = publish(client, plan, progress)
    note(f"the data are {wanted.dataset}")
    return wanted


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"{text!a} is not NAME=VALUE.", param_hint="--set")
    return name, value


def _print(job: "Job", version: "Version") -> None:
    line(version.reference)
    if job.measured:
        line()
        print_table(("METRIC", "BEFORE", "AFTER", "MAJORITY", "SPLIT", "ITEMS"), measured_rows(job.measured))
    note(f"`zoo show {version.reference}` says more; `zoo run {version.reference} INPUT` uses it")
