"""A TrainingService in the test's own process: keeps the proto's contract; a test says what becomes of jobs."""

import re
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

from modelzoo.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound, OutOfRange, ZooError, to_status
from zoo.training.v1 import event_pb2, job_pb2, recipe_pb2, sweep_pb2
from zoo.training.v1 import training_service_pb2 as pb
from zoo.training.v1 import training_service_pb2_grpc as rpc

__all__ = ["RECIPES", "ToyTraining", "serving"]

STATES = job_pb2.JobState
LABEL = re.compile(r'labels\.(\w+) = "([^"]*)"')
FINAL = {job_pb2.JOB_STATE_SUCCEEDED, job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_CANCELLED}


def _parameter(name: str, kind: str, default: object, **limits: object) -> recipe_pb2.Parameter:
    parameter = recipe_pb2.Parameter(name=name, description=f"What {name} does.", **limits)
    parameter.kind = recipe_pb2.ParameterKind.Value(f"PARAMETER_KIND_{kind}")
    if isinstance(default, str):
        parameter.default_value.string_value = default
    elif isinstance(default, bool):
        parameter.default_value.bool_value = default
    elif default is not None:
        parameter.default_value.number_value = default
    return parameter


RECIPES = (
    recipe_pb2.Recipe(
        name="text-classification",
        description="A new head on an encoder.\n\nAll layers learn.",
        base_tasks=["feature-extraction", "fill-mask"],
        task="text-classification",
        parameters=[
            _parameter("learning_rate", "NUMBER", 5e-5, minimum=0, maximum=1, minimum_excluded=True),
            _parameter("batch_size", "INTEGER", 16, minimum=1, maximum=1024),
            _parameter("epochs", "NUMBER", 3, minimum=0, minimum_excluded=True),
            _parameter("schedule", "CHOICE", "linear", choices=["linear", "cosine"]),
            _parameter("freeze", "BOOL", None),
            _parameter("dropout", "NUMBER", None, minimum=0, maximum=1, maximum_excluded=True),
        ],
        columns=["text|sentence", "label"],
        metric="accuracy",
        resource_classes=["cpu", "gpu"],
    ),
    recipe_pb2.Recipe(
        name="sentence-embedding",
        description="Pairs that mean the same come close.",
        base_tasks=["feature-extraction"],
        task="feature-extraction",
        columns=["text", "positive"],
        metric="loss",
        lower_is_better=True,
    ),
)


class ToyTraining(rpc.TrainingServiceServicer):
    """Jobs stay QUEUED until the test says more, or `script` does with each new one. While `breaks` is above 0, a watch
    breaks off after `break_after` events, as the network does, or ends as `break_with` says."""

    def __init__(self) -> None:
        self.jobs: dict[str, job_pb2.Job] = {}
        self.sweeps: dict[str, sweep_pb2.Sweep] = {}
        self.events: dict[str, list[event_pb2.Event]] = {}
        self.recipes = [recipe_pb2.Recipe.FromString(recipe.SerializeToString()) for recipe in RECIPES]
        self.script: Callable[[ToyTraining, str], None] = lambda toy, job: None
        self.breaks = 0
        self.break_after = 1
        self.break_with: ZooError | None = None
        self.repeat_events = False
        self.refuse_sweeps: ZooError | None = None
        self.watches = 0
        self.watching = threading.Event()
        """Set when a watch waits for what is still to come."""
        self._requests: dict[str, tuple[bytes, str]] = {}
        self._changed = threading.Condition(threading.RLock())

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        collected = _Collected()
        rpc.add_TrainingServiceServicer_to_server(self, collected)
        return tuple(collected.handlers)

    # What a test does

    def state(self, name: str, state: str, *, actor: str = "reconciler", reason: str = "", message: str = "") -> None:
        with self._changed:
            job = self.jobs[name]
            assert job.state not in FINAL
            job.state = STATES.Value(f"JOB_STATE_{state}")
            job.reason, job.message = reason, message
            if state == "RUNNING":
                job.attempts += 1
                job.host = "w1"
                job.start_time.GetCurrentTime()
            if job.state in FINAL:
                job.end_time.GetCurrentTime()
            change = event_pb2.StateChange(
                state=job.state, wanted=job.wanted, reason=reason, message=message, actor=actor
            )
            self._append(name, event_pb2.Event(state=change))

    def step(self, name: str, step: int, steps: int, loss: float | None, **values: float) -> None:
        with self._changed:
            progress = job_pb2.Progress(step=step, steps=steps, epoch=step / 10, loss=loss, examples_per_second=320)
            progress.remaining.seconds = 90
            self.jobs[name].progress.CopyFrom(progress)
            self._append(name, event_pb2.Event(metrics=event_pb2.Metrics(progress=progress, values=values)))

    def log(self, name: str, text: str, severity: str = "INFO") -> None:
        log = event_pb2.Log(text=text, severity=event_pb2.Severity.Value(f"SEVERITY_{severity}"))
        self._append(name, event_pb2.Event(log=log))

    def checkpoint(self, name: str, step: int) -> None:
        checkpoint = job_pb2.Checkpoint(
            step=step, manifest_digest="0" * 64, size_bytes=90_000_000, sent_bytes=1_000_000
        )
        self._append(name, event_pb2.Event(checkpoint=checkpoint))

    def succeed(self, name: str, result: str, before: float | None = 0.1, after: float = 0.9, **used: float) -> None:
        with self._changed:
            job = self.jobs[name]
            job.used.update({"wall_seconds": 4.0} | used)
            job.result = result
            job.measured.add(metric="accuracy", before=before, after=after, majority=0.25, split="test", items=200)
            self.state(name, "SUCCEEDED", actor="training")

    def only(self) -> str:
        """The name of the one job."""
        (name,) = self.jobs
        return name

    # What the service does

    def CreateJob(self, request, context):
        with self._changed, _refusing(context):
            known = self._known(request.request_id, request)
            if known:
                return pb.CreateJobResponse(job=self.jobs[known])
            job = self._planned(request.job)
            if not request.validate_only:
                self._make(job)
                self._requests[request.request_id] = (request.SerializeToString(deterministic=True), job.name)
                self.script(self, job.name)
            return pb.CreateJobResponse(job=job)

    def GetJob(self, request, context):
        with _refusing(context):
            return pb.GetJobResponse(job=self._job(request.name))

    def ListJobs(self, request, context):
        """Two a page; of filters it knows `state = X` and `labels.L = "V"` alone, among others that it lets through."""
        with _refusing(context):
            if "?" in request.filter:
                raise InvalidArgument("FILTER_INVALID", "This is no filter: '?' at character 1.")
            found = [job for job in reversed(self.jobs.values()) if self._matches(job, request)]
            start = int(request.page_token or 0)
            token = str(start + 2) if len(found) > start + 2 else ""
            return pb.ListJobsResponse(jobs=found[start : start + 2], next_page_token=token)

    def UpdateJob(self, request, context):
        with self._changed, _refusing(context):
            job = self._job(request.job.name)
            if request.job.etag and request.job.etag != job.etag:
                raise Aborted("ETAG_MISMATCH", "The job was changed meanwhile.")
            for path in request.update_mask.paths:
                job.ClearField(path)
            job.MergeFrom(job_pb2.Job(priority=request.job.priority, labels=request.job.labels))
            job.etag = uuid.uuid4().hex
            return pb.UpdateJobResponse(job=job)

    def CancelJob(self, request, context):
        with self._changed, _refusing(context):
            job = self._decide(request.name, job_pb2.WANTED_CANCEL, idempotent=job_pb2.JOB_STATE_CANCELLED)
            if job.state in (job_pb2.JOB_STATE_QUEUED, job_pb2.JOB_STATE_PAUSED):
                self.state(job.name, "CANCELLED", actor="admin")
            return pb.CancelJobResponse(job=job)

    def PauseJob(self, request, context):
        with self._changed, _refusing(context):
            job = self._decide(request.name, job_pb2.WANTED_PAUSE)
            if job.state == job_pb2.JOB_STATE_QUEUED:
                self.state(job.name, "PAUSED", actor="admin")
            return pb.PauseJobResponse(job=job)

    def ResumeJob(self, request, context):
        with self._changed, _refusing(context):
            job = self._decide(request.name, job_pb2.WANTED_RUN)
            if job.state == job_pb2.JOB_STATE_PAUSED:
                self.state(job.name, "QUEUED", actor="admin")
            return pb.ResumeJobResponse(job=job)

    def WatchJob(self, request, context) -> Iterator[pb.WatchJobResponse]:
        with _refusing(context):
            job = self._job(request.name)
            if request.after_sequence > job.last_sequence:
                raise OutOfRange("CURSOR_INVALID", "The job has no such event.")
            with self._changed:
                self.watches += 1
            context.add_callback(self._notify)
            yield from self._stream(request, context)

    def ListRecipes(self, request, context):
        found = [r for r in self.recipes if not request.base_task or request.base_task in r.base_tasks]
        return pb.ListRecipesResponse(recipes=sorted(found, key=lambda recipe: recipe.name))

    def CreateSweep(self, request, context):
        with self._changed, _refusing(context):
            sweep = sweep_pb2.Sweep()
            sweep.CopyFrom(request.sweep)
            if self.refuse_sweeps is not None:
                raise self.refuse_sweeps
            if request.validate_only:
                return pb.CreateSweepResponse(sweep=sweep)
            sweep.name = f"sweep_{uuid.uuid4()}"
            ((name, choices),) = sweep.choices.items()
            for value in choices.values:
                job = self._planned(job_pb2.Job(spec=sweep.spec, sweep=sweep.name))
                job.spec.parameters.fields[name].CopyFrom(value)
                sweep.jobs.append(self._make(job))
            self.sweeps[sweep.name] = sweep
            for job in sweep.jobs:
                self.script(self, job)
            return pb.CreateSweepResponse(sweep=sweep)

    def GetSweep(self, request, context):
        with self._changed, _refusing(context):
            if request.name not in self.sweeps:
                raise NotFound("SWEEP_NOT_FOUND", f"There is no sweep {request.name!a}.")
            sweep = self.sweeps[request.name]
            done = [self.jobs[name] for name in sweep.jobs if self.jobs[name].state in FINAL]
            good = [job for job in done if job.measured]
            sweep.finished = len(done)
            sweep.best = max(good, key=lambda job: job.measured[0].after).name if good else ""
            if len(done) == len(sweep.jobs):
                sweep.end_time.GetCurrentTime()
                sweep.message = (
                    f"'{sweep.spec.promotion.alias}' stays where it is" if sweep.spec.promotion.alias else ""
                )
            return pb.GetSweepResponse(sweep=sweep)

    def _stream(self, request, context) -> Iterator[pb.WatchJobResponse]:
        cursor, sent = request.after_sequence, 0
        while context.is_active():
            with self._changed:
                job = self.jobs[request.name]
                events = self.events[request.name][cursor:]
                is_final = job.state in FINAL
                if not events and request.follow and not is_final:
                    self.watching.set()
                    self._changed.wait(timeout=0.5)
                    continue
            for event in events:
                if self.breaks and sent == self.break_after:
                    self._break(context)
                for _ in range(1 + self.repeat_events):
                    yield pb.WatchJobResponse(event=event)
                cursor, sent = event.sequence, sent + 1
            if not events:
                return

    def _break(self, context) -> None:
        self.breaks -= 1
        if self.break_with is not None:
            raise self.break_with
        context.abort(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")

    def _planned(self, asked: job_pb2.Job) -> job_pb2.Job:
        by_name = {recipe.name: recipe for recipe in self.recipes}
        if asked.spec.recipe not in by_name:
            raise InvalidArgument("RECIPE_UNKNOWN", f"There is no recipe {asked.spec.recipe!a}.")
        wanted = asked.spec.resource_class or "cpu"
        if wanted not in by_name[asked.spec.recipe].resource_classes:
            raise FailedPrecondition("TRAINER_MISSING", f"No trainer of the resource class {wanted} has been seen.")
        job = job_pb2.Job()
        job.CopyFrom(asked)
        job.spec.resource_class = job.spec.resource_class or "cpu"
        for parameter in by_name[job.spec.recipe].parameters:
            if parameter.name not in job.spec.parameters and parameter.HasField("default_value"):
                job.spec.parameters.fields[parameter.name].CopyFrom(parameter.default_value)
        job.state, job.wanted = job_pb2.JOB_STATE_QUEUED, job_pb2.WANTED_RUN
        return job

    def _make(self, job: job_pb2.Job) -> str:
        job.name = f"job_{uuid.uuid4()}"
        job.creator, job.etag = "admin", uuid.uuid4().hex
        job.create_time.GetCurrentTime()
        self.jobs[job.name], self.events[job.name] = job, []
        change = event_pb2.StateChange(state=job.state, wanted=job.wanted, actor=job.creator)
        self._append(job.name, event_pb2.Event(state=change))
        return job.name

    def _append(self, name: str, event: event_pb2.Event) -> None:
        with self._changed:
            event.sequence = len(self.events[name]) + 1
            event.epoch = self.jobs[name].attempts
            event.time.GetCurrentTime()
            self.events[name].append(event)
            self.jobs[name].last_sequence = event.sequence
            self._notify()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _known(self, request_id: str, request) -> str | None:
        asked, name = self._requests.get(request_id, (None, None))
        assert asked in (None, request.SerializeToString(deterministic=True))
        return name

    def _job(self, name: str) -> job_pb2.Job:
        if name not in self.jobs:
            raise NotFound("JOB_NOT_FOUND", f"There is no job {name!a} that you can see.")
        return self.jobs[name]

    def _decide(self, name: str, wanted: job_pb2.Wanted, idempotent: int = 0) -> job_pb2.Job:
        job = self._job(name)
        if job.state in FINAL and job.state != idempotent:
            raise FailedPrecondition("JOB_FINAL", f"The job {name} is {STATES.Name(job.state)} already.")
        job.wanted = wanted
        return job

    def _matches(self, job: job_pb2.Job, request) -> bool:
        _, found, state = request.filter.partition("state = ")
        label = LABEL.search(request.filter)
        if label and job.labels.get(label[1]) != label[2]:
            return False
        in_namespace = not request.namespace or job.spec.output.startswith(f"{request.namespace}/")
        return in_namespace and (not found or state.split()[0] == STATES.Name(job.state).removeprefix("JOB_STATE_"))


@contextmanager
def serving(toy: ToyTraining) -> Iterator[str]:
    """Serves it alone, to whoever comes; its address."""
    server = grpc.server(ThreadPoolExecutor(16), handlers=toy.handlers())
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield address
    finally:
        server.stop(0).wait()


class _Collected:
    """Looks like a server to what registers servicers."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self.handlers += handlers

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        pass


class _refusing:
    """Ends the call with the ZooError of the block, as a server's interceptor does."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ZooError):
            details = to_status(error).SerializeToString()
            self._context.set_trailing_metadata((("grpc-status-details-bin", details),))
            self._context.abort(error.code, error.message)
