"""The state of the simulated APIs: each organisation's jobs, batches, files and usage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from monitor.simulator import errors
from monitor.simulator.batch import BATCH_ENDS, Batch, BatchSpec, BatchStatus, cancel_batch, plan_batch
from monitor.simulator.clock import SimClock
from monitor.simulator.dataset import Dataset
from monitor.simulator.draws import alphanumeric, dice, within
from monitor.simulator.files import StoredFile, batch_files, result_file, sample_file
from monitor.simulator.job import AUTO, Files, Job, JobSpec, plan_job
from monitor.simulator.models import is_tuned
from monitor.simulator.orgs import Caller, Org, batch_id, job_id
from monitor.simulator.plan import TERMINAL, Pace, Plan, Status, cancel, pause, resume
from monitor.simulator.traffic import BATCH_MODELS, MODELS, Scene, Traffic, coming, coming_batches, past, past_batches
from monitor.simulator.training import snapshots
from monitor.simulator.webhooks import Endpoint


@dataclass(frozen=True)
class UsageKey:
    """The key of a usage record: one minute of one model in one project. `minute` is the Unix time of its start."""

    org_id: str
    project_id: str
    model: str
    minute: int


@dataclass(frozen=True)
class Tokens:
    """The tokens of one or more requests; `cached` is a part of `prompt`."""

    prompt: int
    completion: int
    cached: int = 0
    requests: int = 1

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.prompt + other.prompt,
            self.completion + other.completion,
            self.cached + other.cached,
            self.requests + other.requests,
        )


@dataclass
class _Records:
    """An organisation's objects in order of creation; `upcoming` are the jobs that traffic will create."""

    upcoming: Iterator[Job]
    upcoming_batches: Iterator[Batch]
    due: Job | None = None
    due_batch: Batch | None = None
    batches: dict[str, Batch] = field(default_factory=dict)
    jobs: dict[tuple[str, str], Job] = field(default_factory=dict)
    """The jobs by method and id: at Fireworks, jobs of two methods may have the same id."""
    files: dict[str, StoredFile] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    in_use: tuple[Job, ...] = ()


@dataclass(eq=False)
class Simulation:
    """Simulated fine-tuning APIs. `clock` returns the simulated Unix time; the state advances only when it is read."""

    orgs: tuple[Org, ...]
    clock: Callable[[], float] = field(default_factory=SimClock)
    pace: Pace = field(default_factory=Pace)
    traffic: Traffic = field(default_factory=Traffic)
    seed: object = 0
    requests_per_second: float | None = None
    """The rate limit of an organisation in real time, beyond which it gets 429; None: no limit."""
    shutdowns: Mapping[str, str] = field(default_factory=dict)
    """ISO dates on which base models are shut down, in place of the real ones."""
    usage: dict[UsageKey, Tokens] = field(default_factory=dict, init=False)
    webhooks: dict[str, dict[str, Endpoint]] = field(default_factory=dict, init=False, repr=False)
    """The webhook endpoints by organisation id and endpoint id."""
    _records: dict[str, _Records] = field(default_factory=dict, init=False, repr=False)
    _numbers: Iterator[int] = field(default_factory=count, init=False, repr=False)

    def __post_init__(self) -> None:
        start = self.clock()
        for index, org in enumerate(self.orgs):
            scene = Scene(org, self.seed, self.pace, start, first=index == 0)
            jobs, batches = coming(scene, self.traffic), coming_batches(scene, self.traffic)
            records = _Records(jobs, batches, due=next(jobs, None), due_batch=next(batches, None))
            records.batches.update({batch.id: batch for batch in past_batches(scene, self.traffic)})
            self._records[org.id] = records
            for job in past(scene, self.traffic):
                _adopt(records, job)
            done = [job for job in records.jobs.values() if job.succeeded(start)]
            done.sort(key=lambda job: (job.plan.finished_at or 0.0, job.id))
            records.in_use = tuple(done[: self.traffic.in_use])

    def now(self) -> float:
        """The simulated Unix time, after creating everything that is due by then."""
        now = self.clock()
        for records in self._records.values():
            while records.due is not None and records.due.created_at <= now:
                _adopt(records, records.due)
                records.due = next(records.upcoming, None)
            while records.due_batch is not None and records.due_batch.created_at <= now:
                records.batches[records.due_batch.id] = records.due_batch
                records.due_batch = next(records.upcoming_batches, None)
        return now

    def jobs(self, org: Org) -> tuple[Job, ...]:
        """The organisation's jobs, newest first."""
        self.now()
        return tuple(reversed(self._records[org.id].jobs.values()))

    def job(self, org: Org, name: str, method: str | None = None) -> Job:
        """One job; `method` is its method if jobs of others may have the same id. Raises ApiError 404."""
        self.now()
        jobs, methods = self._records[org.id].jobs, (method,) if method else AUTO
        found = next((jobs[key] for key in ((each, name) for each in methods) if key in jobs), None)
        if found is None:
            raise errors.no_such_job(name)
        return found

    def create_job(self, caller: Caller, spec: JobSpec, name: str | None = None) -> Job:
        """Create a job, with this id if it is given. Raises ApiError 400 for files and models that do not exist."""
        now = self.now()
        if is_tuned(spec.model) and self.tuned(caller.org, spec.model) is None:
            message = f"Model {spec.model} is not available for fine-tuning or does not exist."
            raise errors.bad("model", message, "model_not_available")
        training = self._dataset(caller, spec.training_file, "training_file")
        validation = self._dataset(caller, spec.validation_file, "validation_file") if spec.validation_file else None
        made = name or job_id(dice(self.seed, caller.org.id, "id", next(self._numbers)), caller.org.provider)
        job = plan_job(made, caller, spec, files=Files(training, validation), pace=self.pace, at=now)
        self._records[caller.org.id].jobs[job.spec.method, job.id] = job
        return job

    def start_job(
        self,
        org: Org,
        *,
        name: str | None = None,
        model: str | None = None,
        method: str = "supervised",
        tokens: int = 4000,
        **asked: Any,
    ) -> Job:
        """Create a job at any provider with a file of 40 examples; `name` is its id, `asked` are fields of JobSpec."""
        caller, at = org.caller, self.now()
        file = self.add_file(caller, sample_file("", Dataset(40, tokens), project_id=caller.project.id, at=at))
        chosen = model or next(name for name, way, _ in MODELS[org.provider] if way == method)
        auto = dict.fromkeys(AUTO[method], "auto")
        spec = JobSpec(training_file=file.id, model=chosen, method=method, hyperparameters=auto, **asked)
        return self.create_job(caller, spec, name)

    def cancel(self, org: Org, name: str, method: str | None = None) -> Job:
        """Cancel a job; `method` is as for `job`. Raises ApiError 404, or 400 if it has ended."""
        job = self.job(org, name, method)
        if job.plan.status(self.clock()) in (*TERMINAL, Status.CANCELLING):
            raise errors.bad(None, f"Job has already completed: {name}", "invalid_job_state")
        return self._edited(org, job, cancel)

    def pause(self, org: Org, name: str) -> Job:
        """Pause a job. Raises ApiError 404, or 400 if it is not running."""
        job = self.job(org, name)
        if job.plan.status(self.clock()) is not Status.RUNNING:
            raise errors.bad(None, f"Only a running job can be paused: {name}", "invalid_job_state")
        return self._edited(org, job, pause)

    def resume(self, org: Org, name: str) -> Job:
        """Resume a job. Raises ApiError 404, or 400 if it is not paused."""
        job = self.job(org, name)
        if job.plan.status(self.clock()) is not Status.PAUSED:
            raise errors.bad(None, f"Only a paused job can be resumed: {name}", "invalid_job_state")
        return self._edited(org, job, resume)

    def batches(self, caller: Caller) -> tuple[Batch, ...]:
        """The project's batches, newest first."""
        self.now()
        found = reversed(self._records[caller.org.id].batches.values())
        return tuple(batch for batch in found if batch.owner.project.id == caller.project.id)

    def batch(self, caller: Caller, name: str) -> Batch:
        """One batch. Raises ApiError 404."""
        found = next((batch for batch in self.batches(caller) if batch.id == name), None)
        if found is None:
            raise errors.no_such_batch(name)
        return found

    def create_batch(self, caller: Caller, spec: BatchSpec) -> Batch:
        """Create a batch."""
        name = batch_id(dice(self.seed, caller.org.id, "id", next(self._numbers)), caller.org.provider)
        batch = plan_batch(name, caller, spec, pace=self.pace, at=self.now())
        self._records[caller.org.id].batches[name] = batch
        return batch

    def start_batch(self, org: Org, *, total: int = 40, **asked: Any) -> Batch:
        """Create a batch at any provider that has them; `asked` are fields of BatchSpec."""
        [model, *_] = BATCH_MODELS[org.provider]
        spec = BatchSpec(input_file=f"file-{'0' * 22}", total=total, **{"model": model, **asked})
        return self.create_batch(org.caller, spec)

    def cancel_batch(self, caller: Caller, name: str) -> Batch:
        """Cancel a batch. Raises ApiError 404, or 409 if it has ended."""
        batch = self.batch(caller, name)
        status = batch.status(self.clock())
        if status in (*BATCH_ENDS, BatchStatus.CANCELLING):
            message = f"Cannot cancel a batch with status '{status}'."
            raise errors.ApiError(409, message, code="invalid_request_error")
        takes = within(dice(name, "cancellation"), self.pace.cancellation)
        cancelled = cancel_batch(batch, self.clock(), takes)
        self._records[caller.org.id].batches[name] = cancelled
        return cancelled

    def endpoints(self, org: Org) -> dict[str, Endpoint]:
        """The organisation's webhook endpoints by id."""
        return self.webhooks.setdefault(org.id, {})

    def keep_endpoint(self, org: Org, endpoint: Endpoint) -> Endpoint:
        """Store a new or changed endpoint."""
        self.endpoints(org)[endpoint.id] = endpoint
        return endpoint

    def files(self, caller: Caller) -> list[StoredFile]:
        """The project's files with those that its jobs and batches created, newest first."""
        now = self.now()
        records = self._records[caller.org.id]
        results = (result_file(job) for job in records.jobs.values() if job.succeeded(now))
        answers = (file for batch in records.batches.values() for file in batch_files(batch, now))
        found = [
            file
            for file in (*records.files.values(), *results, *answers)
            if file.project_id == caller.project.id
            and file.id not in records.deleted
            and (file.expires_at is None or now < file.expires_at)
        ]
        return sorted(found, key=lambda file: (file.created_at, file.id), reverse=True)

    def file(self, caller: Caller, file_id: str) -> StoredFile:
        """One file. Raises ApiError 404."""
        found = next((file for file in self.files(caller) if file.id == file_id), None)
        if found is None:
            raise errors.no_such_file(file_id)
        return found

    def add_file(self, caller: Caller, file: StoredFile) -> StoredFile:
        """Store an upload under a new id."""
        rng = dice(self.seed, caller.org.id, "id", next(self._numbers))
        named = replace(file, id=f"file-{alphanumeric(rng, 22)}", created_at=self.now())
        self._records[caller.org.id].files[named.id] = named
        return named

    def delete_file(self, caller: Caller, file_id: str) -> StoredFile:
        """Delete a file. Jobs that were created with it continue. Raises ApiError 404."""
        file = self.file(caller, file_id)
        self._records[caller.org.id].deleted.add(file.id)
        return file

    def tuned_models(self, org: Org) -> list[Job]:
        """The jobs whose models exist, newest model first."""
        now = self.now()
        done = [job for job in self.jobs(org) if job.succeeded(now)]
        return sorted(done, key=lambda job: job.plan.finished_at or 0.0, reverse=True)

    def in_use(self, org: Org) -> tuple[Job, ...]:
        """The jobs whose models are in constant use, oldest model first."""
        return self._records[org.id].in_use

    def tuned(self, org: Org, model: str) -> Job | None:
        """The job that created a model or a checkpoint of that name; None if there is none.

        The announcement's `ft:gpt-3.5-turbo:org_id` is a pattern and not a name: it stands for the newest model of that
        base.
        """
        done = self.tuned_models(org)
        parts = model.split(":")
        if len(parts) == 3 and parts[0] == "ft" and parts[2] in {"org_id", org.id, org.name}:
            return next((job for job in done if job.spec.base.id.startswith(parts[1])), None)
        own = ":".join(parts[:5])
        found = next((job for job in done if job.fine_tuned_model == own), None)
        names = {name for _, name in snapshots(found)} if found else set()
        return found if model in names else None

    def record(self, caller: Caller, model: str, tokens: Tokens) -> None:
        """Record the usage of one completion."""
        key = UsageKey(caller.org.id, caller.project.id, model, int(self.clock()) // 60 * 60)
        self.usage[key] = self.usage[key] + tokens if key in self.usage else tokens

    def _dataset(self, caller: Caller, file_id: str, param: str) -> Dataset:
        file = next((file for file in self.files(caller) if file.id == file_id), None)
        if file is None:
            raise errors.bad(param, f"'{file_id}' does not exist", "file_not_found")
        if file.dataset is None or file.purpose != "fine-tune":
            message = f"File '{file_id}' has purpose '{file.purpose}', but 'fine-tune' is required."
            raise errors.bad(param, message, "invalid_file_purpose")
        return file.dataset

    def _edited(self, org: Org, job: Job, edit: Callable[[Plan, float], Plan]) -> Job:
        edited = replace(job, plan=edit(job.plan, self.clock()))
        self._records[org.id].jobs[job.spec.method, job.id] = edited
        return edited


def _adopt(records: _Records, job: Job) -> None:
    """Add a generated job with its files, which were uploaded a minute before it."""
    records.jobs[job.spec.method, job.id] = job
    datasets = {job.spec.training_file: job.dataset}
    if job.spec.validation_file:
        examples = max(1, job.dataset.examples // 10)
        datasets[job.spec.validation_file] = Dataset(examples, examples * 300)
    for file_id, dataset in datasets.items():
        records.files[file_id] = sample_file(file_id, dataset, project_id=job.owner.project.id, at=job.created_at - 60)
