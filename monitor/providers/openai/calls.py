"""The requests to OpenAI's API and to its copies: jobs, events, checkpoints and training files."""

from __future__ import annotations

from collections.abc import Container
from functools import partial
from typing import Final
from urllib.parse import quote

from monitor.domain.model import Checkpoint, Job, JobEvent, JobKind
from monitor.providers._json import Object, Parsed, Skip, obj, unknown
from monitor.providers._refusals import granted, refusal
from monitor.providers._values import text, whole
from monitor.providers.base import Call, Files, JobList, Listing, Malformed, NotFound, Page, Request, Response
from monitor.providers.openai import events as _events
from monitor.providers.openai.batches import batch_list
from monitor.providers.openai.jobs import Origin, parse_job
from monitor.providers.openai.shape import FEW, LIMIT, RULES, first_page, job_listing, read_page

_JOBS: Final = "/fine_tuning/jobs"
_NO_EVENTS: Final = frozenset({404, 405, 410, 501})  # answers of servers that copy the API without event streams


def job_lists(origin: Origin, watch: Container[JobKind], *, copied: bool = False) -> tuple[JobList, ...]:
    """The lists of the watched kinds of jobs. `copied`: the server is not OpenAI's own."""
    return tuple(each for each in (_job_list(origin, copied=copied), batch_list(origin)) if each.kind in watch)


def _job_list(origin: Origin, *, copied: bool) -> JobList:
    return JobList(
        pages=job_listing("list_jobs", _JOBS, partial(parse_job, origin)),
        one=partial(_job, origin),
        revisited=copied,
    )


def events(org: str, job_id: str, known: Container[str] = (), few: bool = False) -> Listing[JobEvent]:
    """The event stream of one job; events whose ids are in `known` are left out, and of `few` others the first page is
    short.
    """
    path = f"{_JOBS}/{quote(job_id, safe='')}/events"
    first = first_page("list_events", path, limit=FEW if few else LIMIT)
    return Listing(first=first, read=partial(_read_events, org, job_id, known))


def checkpoints(job_id: str) -> Listing[Checkpoint]:
    """The checkpoints of one job, whose events name them only some seconds after the job's end."""
    first = first_page("list_checkpoints", f"{_JOBS}/{quote(job_id, safe='')}/checkpoints")
    return Listing(first=first, read=_read_checkpoints)


def _read_checkpoints(request: Request, response: Response) -> Page[Checkpoint]:
    return read_page(request, response, _checkpoint, one=True)


def _checkpoint(item: Object) -> Parsed[Checkpoint] | Skip:
    step, name = whole(item.get("step_number")), text(item.get("fine_tuned_model_checkpoint"), 256)
    return Parsed(Checkpoint(step=step, name=name)) if step is not None and name is not None else "bad_figure"


def _job(origin: Origin, job_id: str) -> Call[Job]:
    request = Request(operation="get_job", path=f"{_JOBS}/{quote(job_id, safe='')}")
    return Call(request=request, read=partial(_read_job, origin))


def _read_job(origin: Origin, response: Response) -> Job:
    if (error := refusal(response, one=True, rules=RULES)) is not None:
        raise error
    found = parse_job(origin, obj(response))
    if isinstance(found, Parsed):
        return found.item
    if found == "foreign":
        raise Malformed("the answer is a job of another organisation")
    raise Malformed("the answer is not a job: it has no usable id")


def _read_events(org: str, job_id: str, known: Container[str], request: Request, response: Response) -> Page[JobEvent]:
    """Parse a page of events. Raises SourceError; NotFound if the server has no such stream.

    Gateways without event streams may still answer 200: Portkey returns a job whose id is `events`.
    """
    missing = NotFound(f"{response.status}: there are no events of this job here")
    if response.status in _NO_EVENTS:
        raise missing
    try:
        fast_path = partial(unknown, known) if known else None
        return read_page(request, response, partial(_events.parse_event, org, job_id), one=True, fast_path=fast_path)
    except Malformed:
        if response.status == 200 and "data" not in obj(response):
            raise missing from None
        raise


def _file(file_id: str) -> Call[int]:
    return Call(request=Request(operation="get_file", path=f"/files/{quote(file_id, safe='')}"), read=_read_length)


def _read_length(response: Response) -> int:
    length = whole(obj(granted(response, what="file", rules=RULES)).get("bytes"))
    if length is None:
        raise Malformed("the answer is not a file: it has no length")
    return length


def _content(file_id: str) -> Call[bytes]:
    path = f"/files/{quote(file_id, safe='')}/content"
    return Call(
        request=Request(operation="get_content", path=path),
        read=lambda response: granted(response, what="file", rules=RULES).body,
    )


FILES: Final = Files(length=_file, content=_content)
"""Training files by id. The key needs permission to read files."""
