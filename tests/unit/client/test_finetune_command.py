"""`zoo finetune`, `zoo jobs`, `zoo recipes`: what they say, how they follow, and how they end."""

import json
import re
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
import pytest
from typer.testing import Result

from modelzoo.client import Client
from modelzoo.errors import ResourceExhausted
from support.published import CHAT
from support.terminal import ZOO, on_a_terminal
from support.toy_jobs import ToyTraining

Zoo = Callable[..., Result]

ROWS = [{"text": f"a text {n}", "label": "xy"[n % 2]} for n in range(40)]
JOB = re.compile(r"job_[0-9a-f-]{36}")


@pytest.fixture
def handlers(training: ToyTraining) -> Sequence[grpc.GenericRpcHandler]:
    return training.handlers()


@pytest.fixture
def data(client: Client, training: ToyTraining, tree: Callable[..., Path], tmp_path: Path) -> Path:
    """A file of rows, in a zoo with a base that recipes start from, and a version team/new@1 to answer as result."""
    for name in ("team/base", "team/new"):
        version = client.version(client.push(tree(CHAT, "base"), name).reference)
    for recipe in training.recipes:
        recipe.base_tasks.append(version.facts.task)
    file = tmp_path / "topics.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return file


def run(training: ToyTraining, job: str) -> None:
    training.state(job, "RUNNING", actor="w1")
    training.log(job, "halved the batch", "WARNING")
    for step in range(1, 9):
        training.step(job, step, 8, 1 / step)
    training.checkpoint(job, 8)
    training.succeed(job, "team/new@1")


def made(zoo: Zoo, data: Path, *options: str) -> str:
    result = zoo("finetune", "team/base", data, "--to", "team/new", "--detach", *options)
    assert result.exit_code == 0, result.stderr
    return result.stdout.strip()


def test_it_says_what_it_chose_follows_and_answers_the_version(zoo: Zoo, data: Path, training: ToyTraining):
    training.script = run
    with data.open("a") as file:
        file.write(json.dumps(ROWS[0] | {"label": "y"}) + "\n")
    result = zoo("finetune", "team/base", data, "--to", "team/new", "--set", "batch_size=8", "--epochs", "2")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[0] == "team/new@1"
    assert result.stdout.splitlines()[3].split() == ["accuracy", "0.1", "0.9", "0.25", "test", "200"]
    said = result.stderr
    assert "41 rows of train; 2 labels: x, y" in said
    assert "recipe    text-classification: it starts from" in said
    assert "finds `text` and `label`" in said
    assert "at most 12 steps" in said
    assert "no job of this recipe and base was done before" in said
    assert "topics.jsonl, line 1 (x) is topics.jsonl, line 41 (y)" in said
    assert "the data are team/new-data@1" in said
    assert "RUNNING  attempt 1  by w1" in said
    assert "warning: halved the batch" in said
    assert said.count("step ") == 2  # the first numbers, and the checkpoint: what comes within 5 s is left out
    assert json.loads(zoo("jobs", "list", "--json").stdout)["jobs"][0]["spec"]["budget"]["epochs"] == 2.0


def test_with_json_the_answer_is_one_object_and_an_earlier_job_gives_the_time(
    zoo: Zoo, data: Path, training: ToyTraining
):
    training.script = run
    first = zoo("finetune", "team/base", data, "--to", "team/new", "--json")
    answered = json.loads(first.stdout)
    assert (answered["job"]["state"], answered["version"]["version"], first.stderr) == ("SUCCEEDED", 1, "")
    assert (
        f"as {answered['job']['name']} took"
        in zoo("finetune", "team/base", "team/new-data", "--to", "team/new", "--dry-run").stderr
    )
    assert len(training.jobs) == 1


def test_a_job_shows_the_epochs_that_count_alone(zoo: Zoo, data: Path):
    shown = zoo("jobs", "show", made(zoo, data, "--epochs", "5")).stdout
    assert [line.split() for line in shown.splitlines() if "epochs" in line] == [["epochs", "at", "most", "5"]]
    shown = zoo("jobs", "show", made(zoo, data)).stdout
    assert [line.split() for line in shown.splitlines() if "epochs" in line] == [["epochs", "3"]]


def test_a_dry_run_sends_nothing(zoo: Zoo, data: Path, training: ToyTraining):
    told = json.loads(zoo("finetune", "team/base", data, "--to", "team/new", "--dry-run", "--json").stdout)
    assert (told["spec"]["recipe"], told["steps"], told["seconds"]) == ("text-classification", 9, None)
    assert zoo("show", "team/new-data").exit_code == 3
    assert not training.jobs


def test_the_plan_says_what_comes_of_it(zoo: Zoo, data: Path):
    wanted = ("finetune", "team/base", data, "--dry-run", "--promote", "prod", "--margin", "0.01")
    said = zoo(*wanted, "--to", "team/other", "--try", "learning_rate=1e-4,1e-5", "--try", "epochs=1,2,3").stderr
    assert "output    team/other, a new model, and its data team/other-data; 'prod' moves to it if its accuracy" in said
    assert "is better by 0.01 than what 'prod' means" in said
    assert "trainer   of the resource class cpu" in said
    assert "trials    6 jobs, which differ in learning_rate and epochs" in said
    assert "team/new, its next version" in zoo(*wanted, "--to", "team/new").stderr


def test_a_failed_job_ends_the_command_with_its_reason_and_a_hint(zoo: Zoo, data: Path, training: ToyTraining):
    training.script = lambda toy, name: toy.state(name, "FAILED", reason="LOSS_NOT_FINITE", message="At step 3.")
    result = zoo("finetune", "team/base", data, "--to", "team/new")
    assert (result.exit_code, result.stdout) == (6, "")
    assert all(word in result.stderr for word in ("At step 3.", "lower learning rate", "reason: LOSS_NOT_FINITE"))
    watched = zoo("jobs", "watch", training.only())
    assert (watched.exit_code, "FAILED, LOSS_NOT_FINITE: At step 3." in watched.stdout) == (7, True)


WRONG = (
    (("--set", "learning_rat=1"), 6, "did you mean learning_rate?"),
    (("--set", "learning_rate=nan"), 6, "zoo recipes NAME"),
    (("--set", "learning_rate"), 2, "NAME=VALUE"),
    (("--set", "dropout=1"), 6, "at least 0 and less than 1"),
    (("--set", "batch_size=many"), 6, "whole number"),
    (("--recipe", "text-classificatio"), 6, "did you mean text-classification?"),
    (("--try", "learning_rate=1e-5..1e-3"), 2, "--trials"),
    (("--try", "learning_rate=1e-5,2"), 6, "at most 1"),
    (("--trials", "3"), 2, "--try"),
    (("--epochs", "5", "--set", "epochs=2"), 6, "say epochs once"),
    (("--epochs", "5", "--try", "epochs=2,3"), 2, "leave those out"),
    (("--margin", "1"), 2, "--promote"),
    (("--steps", "0"), 2, "equal to 1"),
    (("--epochs", "0"), 2, "more than 0"),
    (("--minutes", "0"), 2, "more than 0"),
    (("--to", "team/x@1"), 6, "without '@'"),
    (("--resource-class", "tpu", "--dry-run"), 6, "reason: TRAINER_MISSING"),
)


def test_what_is_wrong_is_said_before_anything_is_sent(zoo: Zoo, data: Path, training: ToyTraining):
    for options, code, says in WRONG:
        result = zoo("finetune", "team/base", data, "--to", "team/new", *options)
        assert (result.exit_code, says in " ".join(result.stderr.split())) == (code, True), result.stderr
    assert not training.jobs


def test_bad_rows_are_listed_with_their_lines(zoo: Zoo, data: Path):
    data.write_text(data.read_text() + "no\n" * 30 + '{"text": 1, "label": "x"}\n')
    result = zoo("finetune", "team/base", data, "--to", "team/new", "--json")
    error = json.loads(result.stderr)["error"]
    assert (result.exit_code, error["reason"], error["metadata"]["faults"]) == (6, "DATASET_INVALID", "31")
    assert "topics.jsonl, line 41" in error["message"]


def test_rows_that_cannot_be_read_and_rows_that_lack_something_are_told_at_once(zoo: Zoo, data: Path):
    data.write_text(data.read_text() + 'no\n{"text": "x"}\n{"text": 1, "label": "x"}\n{"text": "", "label": "x"}\n')
    result = zoo("finetune", "team/base", data, "--to", "team/new", "--json")
    error = json.loads(result.stderr)["error"]
    assert (error["reason"], error["metadata"]["faults"]) == ("DATASET_INVALID", "4")
    assert "line 42: it has no `label`" in error["message"]
    assert "line 44: its `text` is empty" in error["message"]


def test_a_job_is_looked_at_and_decided_about(zoo: Zoo, data: Path, training: ToyTraining):
    job = made(zoo, data, "--priority", "3")
    assert JOB.fullmatch(job)
    assert zoo("jobs", "pause", job).stdout == f"{job}: PAUSED\n"
    assert zoo("jobs", "resume", job).stdout == f"{job}: QUEUED\n"
    assert (
        zoo("jobs", "update", job, "--priority", "5", "--label", "why=test").stdout == f"{job}: priority 5  why=test\n"
    )
    training.state(job, "RUNNING", actor="w1")
    training.step(job, 2, 8, 0.5)
    assert re.search(r"progress +step 2 of 8 .* left\n", zoo("jobs", "show", job).stdout)
    assert "it will be CANCELLED at its trainer's next step" in zoo("jobs", "cancel", job).stdout
    assert "RUNNING (to cancel)" in zoo("jobs", "list", "--state", "running").stdout
    training.state(job, "CANCELLED", actor="w1")
    shown = zoo("jobs", "show", job).stdout
    assert all(word in shown for word in ("CANCELLED", "team/new-data@1", "learning_rate", "why=test", "w1"))
    assert "step 2 of 8" in shown
    assert " left" not in shown  # of what nobody is at
    assert "zoo jobs retry JOB" in zoo("jobs", "pause", job).stderr
    again = zoo("jobs", "retry", job).stdout.strip()
    assert re.search(rf"retry of +{job}", zoo("jobs", "show", again).stdout)
    assert training.jobs[again].spec == training.jobs[job].spec
    zoo("jobs", "cancel", again)
    assert "zoo jobs list" in zoo("jobs", "show", "job_x").stderr
    assert zoo("jobs", "list", "--state", "asleep").exit_code == 2
    assert json.loads(zoo("jobs", "list", "--state", "queued", "--json").stdout) == {"jobs": []}


def test_logs_and_events_go_to_pipes_as_lines(zoo: Zoo, data: Path, training: ToyTraining):
    job = made(zoo, data)
    run(training, job)
    logged = zoo("jobs", "logs", job).stdout.splitlines()
    assert [line[10:].split()[0] for line in logged] == ["QUEUED", "RUNNING", "warning:", "checkpoint", "SUCCEEDED"]
    events = [json.loads(line) for line in zoo("jobs", "watch", job, "--json").stdout.splitlines()]
    assert [event["sequence"] for event in events] == list(range(1, 14))
    assert events[3]["metrics"]["progress"]["loss"] == 1.0
    assert len(zoo("jobs", "watch", job, "--json", "--after", "10").stdout.splitlines()) == 3
    assert zoo("jobs", "watch", job).stdout.splitlines()[-1] == f"{job}: team/new@1 is ready"


def test_two_jobs_stand_side_by_side_where_they_differ(zoo: Zoo, data: Path, training: ToyTraining):
    training.script = run
    a, b = made(zoo, data), made(zoo, data, "--set", "learning_rate=1e-3", "--set", "freeze=true")
    rows = {line.split()[0]: line.split()[1:] for line in zoo("jobs", "diff", a, b).stdout.splitlines()[1:]}
    assert (rows["learning_rate"], rows["freeze"]) == (["5e-05", "0.001"], ["-", "true"])
    assert "base" not in rows
    every = json.loads(zoo("jobs", "diff", a, b, "--all", "--json").stdout)["differences"]
    assert {"name": "accuracy (test)", "a": "0.9", "b": "0.9", "differs": False} in every
    assert zoo("jobs", "diff", a, a).stdout == "they are alike\n"
    assert zoo("jobs", "list").stdout.count("accuracy 0.1 -> 0.9") == 2


def test_recipes_are_listed_and_one_is_explained(zoo: Zoo):
    assert "text|sentence, label" in zoo("recipes").stdout
    assert "sentence-embedding" not in zoo("recipes", "--task", "fill-mask").stdout
    shown = zoo("recipes", "text-classification").stdout
    assert re.search(r"learning_rate +5e-05 +number above 0, to 1 +What learning_rate does\.", shown)
    assert re.search(r"schedule +linear +linear \| cosine", shown)
    assert re.search(r"freeze +by the data +true \| false", shown)
    assert "number 0 to below 1" in shown
    assert "did you mean text-classification?" in zoo("recipes", "text-clasification").stderr
    assert json.loads(zoo("recipes", "--json").stdout)["recipes"][1]["metric"] == "accuracy"


def test_a_grid_tells_of_each_trial_and_marks_the_best(zoo: Zoo, data: Path, training: ToyTraining):
    scores = iter((0.5, 0.7, 0.6))
    training.script = lambda toy, name: toy.succeed(name, "team/new@1", after=next(scores))
    tried = ("--try", "learning_rate=1e-5,3e-5,1e-4", "--promote", "prod")
    result = zoo("finetune", "team/base", data, "--to", "team/new", *tried)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "'prod' stays where it is"
    assert "2 of 3  SUCCEEDED  learning_rate=3e-05  accuracy 0.7" in result.stderr
    best = next(line for line in result.stdout.splitlines() if line.endswith("best"))
    assert "3e-05" in best
    (sweep,) = training.sweeps
    assert zoo("jobs", "sweep", sweep).stdout == result.stdout
    answered = json.loads(zoo("jobs", "sweep", sweep, "--json").stdout)
    assert (answered["sweep"]["best"], len(answered["jobs"])) == (best.split()[0], 3)


def test_a_sweep_that_is_refused_has_sent_no_data(zoo: Zoo, data: Path, training: ToyTraining):
    training.refuse_sweeps = ResourceExhausted("QUOTA_EXCEEDED", "0 jobs wait, and 2 may, and 3 more are asked for")
    tried = ("--try", "learning_rate=1e-5,3e-5,1e-4")
    for more in ((), ("--dry-run",)):
        refused = zoo("finetune", "team/base", data, "--to", "team/new", *tried, *more)
        assert refused.exit_code != 0
        assert "QUOTA_EXCEEDED" in refused.stderr
    assert zoo("show", "team/new-data").exit_code != 0
    assert not training.jobs


def test_a_terminal_shows_a_bar_a_curve_and_the_last_lines(zoo: Zoo, data: Path, training: ToyTraining):
    job = made(zoo, data)
    run(training, job)
    shown = on_a_terminal("jobs", "watch", job)
    assert "\x1b[" in shown  # it draws in place
    for word in (
        "SUCCEEDED",
        "step 8/8",
        "loss 0.125",
        "320 examples/s",
        "ETA 1 min 30 s",
        "host w1",
        "halved the batch",
    ):
        assert word in shown, repr(shown)
    assert re.search("[\u2801-\u28ff]{5}", shown)


def test_a_terminal_is_not_told_what_to_do_by_a_log(zoo: Zoo, data: Path, training: ToyTraining):
    job = made(zoo, data)
    training.log(job, "\x1b]0;owned\x07 [red]plain[/red]")
    training.succeed(job, "team/new@1")
    shown = on_a_terminal("jobs", "watch", job)
    assert "\x1b]0;owned" not in shown
    assert "[red]plain[/red]" in shown


@pytest.mark.usefixtures("zoo")
def test_an_interrupt_detaches_and_says_how_to_come_back(data: Path, training: ToyTraining):
    words = [ZOO, "finetune", "team/base", str(data), "--to", "team/new"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert training.watching.wait(60)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    job = training.only()
    assert (process.returncode, out) == (130, "")
    assert f"`zoo jobs watch {job}` comes back, `zoo jobs cancel {job}` ends it" in err
    assert training.jobs[job].wanted == 1
