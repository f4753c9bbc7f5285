"""OpenAI's `/fine_tuning/jobs` and the paths below it: parses the parameters of new jobs and returns jobs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from monitor.simulator import errors
from monitor.simulator.dialect import ApiCall, Route
from monitor.simulator.draws import derived, noise
from monitor.simulator.job import AUTO, Job, JobSpec, seconds
from monitor.simulator.models import Base, base_of, is_tuned
from monitor.simulator.openai.pages import cut, named
from monitor.simulator.plan import TERMINAL, Ending, Fault, Status
from monitor.simulator.training import Event, checkpoint_at, checkpoint_metrics, events, listed, step_metrics

SWITCH = "simulate"
"""The metadata key whose value determines how a job ends."""

_KNOWN = frozenset(("model", "training_file", "validation_file", "hyperparameters", "method", "suffix", "seed"))
_KNOWN |= {"metadata", "integrations"}
_TUNABLE = {"n_epochs": (1, 50), "batch_size": (1, 256), "learning_rate_multiplier": (0.0, 100.0), "beta": (0.0, 2.0)}
_POLICIES = ("harassment/threatening", "hate", "self-harm/instructions", "sexual/minors", "violence/graphic", "illicit")


def create(call: ApiCall) -> dict[str, Any]:
    job = call.simulation.create_job(call.caller, read(call.body()))
    return view(job, job.created_at)


def list_jobs(call: ApiCall) -> dict[str, Any]:
    wanted = _wanted(call.query)
    jobs = [job for job in call.simulation.jobs(call.org) if wanted(job.spec.metadata)]
    shown, more = cut(jobs, call.query, default=20, name=lambda job: job.id)
    return {"object": "list", "data": [view(job, call.now) for job in shown], "has_more": more}


def retrieve(call: ApiCall) -> dict[str, Any]:
    return view(_job(call), call.now)


def list_events(call: ApiCall) -> dict[str, Any]:
    job = _job(call)
    happened = events(job, call.now)[::-1]
    shown, more = cut(happened, call.query, default=20, name=lambda event: event_id(job, event))
    return {"object": "list", "data": [event_json(job, event) for event in shown], "has_more": more}


def list_checkpoints(call: ApiCall) -> dict[str, Any]:
    job = _job(call)
    kept = listed(job, call.now)[::-1]
    shown, more = cut(kept, call.query, default=10, name=lambda each: checkpoint_id(job, each[0]))
    return named([checkpoint_json(job, step, name) for step, name in shown], more=more)


def cancel(call: ApiCall) -> dict[str, Any]:
    return view(call.simulation.cancel(call.org, call.params["job"]), call.now)


def pause(call: ApiCall) -> dict[str, Any]:
    return view(call.simulation.pause(call.org, call.params["job"]), call.now)


def resume(call: ApiCall) -> dict[str, Any]:
    return view(call.simulation.resume(call.org, call.params["job"]), call.now)


JOBS = (
    Route("GET", "/fine_tuning/jobs", list_jobs),
    Route("POST", "/fine_tuning/jobs", create),
    Route("GET", "/fine_tuning/jobs/{job}", retrieve),
    Route("GET", "/fine_tuning/jobs/{job}/events", list_events),
    Route("GET", "/fine_tuning/jobs/{job}/checkpoints", list_checkpoints),
    Route("POST", "/fine_tuning/jobs/{job}/cancel", cancel),
    Route("POST", "/fine_tuning/jobs/{job}/pause", pause),
    Route("POST", "/fine_tuning/jobs/{job}/resume", resume),
)


def _job(call: ApiCall) -> Job:
    return call.simulation.job(call.org, call.params["job"])


def _wanted(query: Mapping[str, str]) -> Callable[[Mapping[str, str] | None], bool]:
    """A predicate for a job's metadata: all of `metadata[k]=v`, or `metadata=null` for jobs without metadata."""
    if query.get("metadata") == "null":
        return lambda metadata: not metadata
    wanted = {match[1]: value for name, value in query.items() if (match := re.fullmatch(r"metadata\[(.*)\]", name))}
    return lambda metadata: wanted.items() <= (metadata or {}).items()


def view(job: Job, now: float) -> dict[str, Any]:
    """The job as the API returns it at `now`."""
    status = job.plan.status(now)
    succeeded = status is Status.SUCCEEDED
    spec = job.spec
    hyperparameters = _hyperparameters(job, now)
    shown: dict[str, Any] = {
        "object": "fine_tuning.job",
        "id": job.id,
        "model": spec.model,
        "created_at": int(job.created_at),
        "finished_at": seconds(job.plan.finished_at) if status in TERMINAL else None,
        "fine_tuned_model": job.fine_tuned_model if succeeded else None,
        "organization_id": job.owner.org.id,
        "result_files": [job.result_file] if succeeded else [],
        "status": status.value,
        "validation_file": spec.validation_file,
        "training_file": spec.training_file,
        "trained_tokens": job.trained_tokens if succeeded else None,
        "error": _error(job, status),
        "user_provided_suffix": spec.suffix,
        "seed": spec.seed if spec.seed is not None else int(noise(job.id, "seed") * 2**31),
        "estimated_finish": _estimated_finish(job, status),
        "integrations": list(spec.integrations),
        "method": {"type": spec.method, spec.method: {"hyperparameters": hyperparameters, **spec.method_extras}},
        "metadata": dict(spec.metadata) if spec.metadata is not None else None,
        "usage_metrics": None,
        "shared_with_openai": False,
    }
    if spec.method != "reinforcement":
        shown["hyperparameters"] = hyperparameters if spec.method == "supervised" else None
    return shown


def _hyperparameters(job: Job, now: float) -> dict[str, Any]:
    """The hyperparameters: as requested until the files are validated, then with "auto" replaced."""
    validated = any(mark.status is Status.QUEUED and mark.at <= now for mark in job.plan.marks)
    return dict(job.resolved if validated else job.spec.hyperparameters)


def _error(job: Job, status: Status) -> dict[str, Any]:
    """The job's error; a healthy job has an empty one, in one of the two forms that the API uses."""
    if status is Status.FAILED and job.plan.fault is not None:
        return fault_json(job.plan.fault)
    if job.spec.method == "reinforcement" or noise(job.id, "error") < 0.3:
        return {}
    return {"code": None, "message": None, "param": None}


def fault_json(fault: Fault) -> dict[str, Any]:
    """A fault as a job's `error`."""
    return {"code": fault.code, "message": fault.message, "param": fault.param}


def _estimated_finish(job: Job, status: Status) -> int | None:
    """Null for most jobs, 0 for some, and an estimate for the rest while they run."""
    drawn = noise(job.id, "estimate")
    if drawn < 0.5:
        return None
    if drawn < 0.7 or status is not Status.RUNNING:
        return 0
    planned = job.plan.ended_at if job.plan.ending is Ending.SUCCESS else None
    return int(planned or job.plan.runs[-1].done_at(job.plan.total_steps)) + 60


def event_id(job: Job, event: Event) -> str:
    """The event's id: the same at every call and after every edit of the plan."""
    return f"ftevent-{derived(24, job.id, event.key)}"


def event_json(job: Job, event: Event) -> dict[str, Any]:
    """An event as the API returns it."""
    return {
        "object": "fine_tuning.job.event",
        "id": event_id(job, event),
        "created_at": int(event.at),
        "level": event.level,
        "message": event.message,
        "data": _data(job, event),
        "type": event.type,
    }


def _data(job: Job, event: Event) -> dict[str, Any] | None:
    if event.step is not None:
        return step_metrics(job, event.step)
    if event.type == "moderation_checks":
        results = [{"category": policy, "flagged": False, "enforcement": "blocking"} for policy in _POLICIES]
        return {"blocked": False, "results": results, "finetuned_model_checkpoint_id": event.snapshot}
    return {}


def checkpoint_id(job: Job, step: int) -> str:
    """The checkpoint's id: the same at every call."""
    return f"ftckpt_{derived(24, job.id, 'checkpoint', step)}"


def checkpoint_json(job: Job, step: int, name: str) -> dict[str, Any]:
    """A checkpoint as the API returns it. It was created when its step was done, minutes before the API lists it."""
    return {
        "object": "fine_tuning.job.checkpoint",
        "id": checkpoint_id(job, step),
        "created_at": int(checkpoint_at(job, step)),
        "fine_tuned_model_checkpoint": name,
        "fine_tuning_job_id": job.id,
        "metrics": checkpoint_metrics(job, step),
        "step_number": step,
    }


def read(body: Mapping[str, Any]) -> JobSpec:
    """Parse the parameters of a new job.

    Raises ApiError 400. Whether files and tuned models exist is not checked here.
    """
    unknown = [name for name in body if name not in _KNOWN]
    if unknown:
        raise errors.bad(None, f"Unrecognized request argument supplied: {unknown[0]}")
    model, base = _model(body)
    method, hyperparameters, extras = _method(body)
    if method not in base.methods:
        raise errors.bad("method", f"The {method} method is not supported for model {model}.", "unsupported_method")
    metadata, ending = read_metadata(body)
    return JobSpec(
        training_file=read_text(body, "training_file", required=True) or "",
        model=model,
        method=method,
        hyperparameters=hyperparameters,
        method_extras=extras,
        validation_file=read_text(body, "validation_file"),
        suffix=_suffix(body),
        seed=_seed(body),
        metadata=metadata,
        integrations=_integrations(body),
        ending=ending,
    )


def read_text(body: Mapping[str, Any], name: str, *, required: bool = False) -> str | None:
    """A text field; None if it is missing and not required. Raises ApiError 400."""
    value = body.get(name)
    if value is None and not required:
        return None
    if name not in body:
        raise errors.missing(name)
    if not isinstance(value, str):
        raise errors.bad_type(name, "a string", value)
    return value


def _model(body: Mapping[str, Any]) -> tuple[str, Base]:
    name = read_text(body, "model", required=True) or ""
    base = base_of(name)
    if base is None or not base.methods:
        message = f"Model {name} is not available for fine-tuning or does not exist."
        raise errors.bad("model", message, "model_not_available")
    return (name if is_tuned(name) else base.id), base


def _method(body: Mapping[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The method, its hyperparameters, and its other fields (a grader, a response format)."""
    given = _mapping(body, "method")
    name = given.get("type", "supervised")
    if not isinstance(name, str) or name not in AUTO:
        message = f"Invalid value: '{name}'. Supported values are: 'supervised', 'dpo', and 'reinforcement'."
        raise errors.bad("method.type", message, "invalid_value")
    details = _mapping(given, name)
    if name == "reinforcement" and "grader" not in details:
        raise errors.missing("method.reinforcement.grader")
    requested = {**_mapping(body, "hyperparameters"), **_mapping(details, "hyperparameters")}
    chosen: dict[str, Any] = dict.fromkeys(AUTO[name], "auto")
    if name == "reinforcement":
        chosen["reasoning_effort"] = "medium"
    for key, value in requested.items():
        chosen[key] = _number(key, value) if key in _TUNABLE else value
    return name, chosen, {key: value for key, value in details.items() if key != "hyperparameters"}


def _mapping(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise errors.bad_type(name, "an object", value)
    return value


def _number(name: str, value: Any) -> Any:
    if value in ("auto", None):
        return "auto"
    param = f"hyperparameters.{name}"
    whole = name in ("n_epochs", "batch_size")
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise errors.bad_type(param, f"'auto' or {'an integer' if whole else 'a number'}", value)
    least, most = _TUNABLE[name]
    if value < least:
        message = f"Invalid '{param}': integer below minimum value. Expected a value >= {least}, but got {value}."
        raise errors.bad(param, message, "integer_below_min_value")
    if value > most:
        message = f"Invalid '{param}': integer above maximum value. Expected a value <= {most}, but got {value}."
        raise errors.bad(param, message, "integer_above_max_value")
    return value


def _suffix(body: Mapping[str, Any]) -> str | None:
    suffix = read_text(body, "suffix")
    if suffix is not None and len(suffix) > 64:
        message = f"Invalid 'suffix': string too long. Expected a string with maximum length 64, but got {len(suffix)}."
        raise errors.bad("suffix", message, "string_above_max_length")
    return suffix or None


def _seed(body: Mapping[str, Any]) -> int | None:
    seed = body.get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise errors.bad_type("seed", "an integer", seed)
    return seed


def _integrations(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    integrations = body.get("integrations") or []
    if not isinstance(integrations, list):
        raise errors.bad_type("integrations", "an array of objects", integrations)
    return tuple(integrations)


def read_metadata(body: Mapping[str, Any]) -> tuple[dict[str, str] | None, Ending]:
    """The metadata and the ending that it requests. Raises ApiError 400."""
    if body.get("metadata") is None:
        return None, Ending.SUCCESS
    metadata = dict(_mapping(body, "metadata"))
    if len(metadata) > 16:
        message = "Invalid 'metadata': too many properties. Expected an object with at most 16."
        raise errors.bad("metadata", message, "object_above_max_properties")
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise errors.bad_type(f"metadata.{key}", "a string", value)
        if len(key) > 64 or len(value) > 512:
            message = f"Invalid 'metadata.{key}': string too long."
            raise errors.bad(f"metadata.{key}", message, "string_above_max_length")
    if metadata.get(SWITCH, Ending.SUCCESS) not in set(Ending):
        choices = ", ".join(repr(each.value) for each in Ending)
        raise errors.bad(f"metadata.{SWITCH}", f"The simulator knows these endings: {choices}.", "invalid_value")
    return metadata, Ending(metadata.get(SWITCH, Ending.SUCCESS))
