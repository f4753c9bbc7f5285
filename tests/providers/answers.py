"""Builds and parses responses of an OpenAI server."""

from __future__ import annotations

import json
from collections.abc import Container
from pathlib import Path
from typing import Any

from monitor.domain.model import Job, JobEvent
from monitor.domain.retirement import ListedModel
from monitor.providers.base import Page, Provider, Request, Response
from monitor.providers.openai import provider

SAMPLES = Path(__file__).parent / "samples"
OPENAI = provider("research", "https://api.openai.com/v1")
CREATED = 1_721_764_800


def response(body: object, status: int = 200) -> Response:
    """A response with this body, encoded as JSON unless it is bytes."""
    return Response(status=status, body=body if isinstance(body, bytes) else json.dumps(body).encode())


def page_of(*items: object) -> Response:
    """The last page of a list."""
    return response({"object": "list", "data": list(items), "has_more": False})


def read_jobs(answer: Response, of: Provider = OPENAI, request: Request | None = None) -> Page[Job]:
    """Parse a page of jobs."""
    pages = of.jobs[0].pages
    return pages.read(request or pages.first, answer)


def read_job(answer: Response, of: Provider = OPENAI, job_id: str = "ftjob-1") -> Job:
    """Parse the response for one job."""
    return of.jobs[0].one(job_id).read(answer)


def read_events(answer: Response, known: Container[str] = (), of: Provider = OPENAI) -> Page[JobEvent]:
    """Parse a page of events."""
    assert of.events is not None
    pages = of.events("ftjob-1", known, False)
    return pages.read(pages.first, answer)


def read_models(answer: Response, of: Provider = OPENAI) -> Page[ListedModel]:
    """Parse a page of models."""
    assert of.models is not None
    return of.models.read(of.models.first, answer)


def jobs(*items: object) -> Page[Job]:
    """Parse a page of these job objects."""
    return read_jobs(page_of(*items))


def job(**fields: Any) -> Job:
    """Parse a job object with these fields."""
    (found,) = jobs({"id": "ftjob-1", "status": "running", "created_at": CREATED, **fields}).items
    return found


def events(*items: object) -> Page[JobEvent]:
    """Parse a page of these event objects."""
    return read_events(page_of(*items))


def event(**fields: Any) -> JobEvent:
    """Parse an event object with these fields."""
    (found,) = events({"id": "ftevent-1", "created_at": CREATED, "level": "info", "message": "x", **fields}).items
    return found


def cursor(page: Page[Any], name: str = "after") -> str | None:
    """The cursor of the next page; empty where more is promised without a cursor, None at the end."""
    if page.next is None:
        return "" if page.stuck else None
    return dict(page.next.params)[name]


def left_out(page: Page[Any]) -> int:
    """How many items of a page were skipped."""
    return sum(count for reason, count in page.skipped.items() if reason != "bad_figure")
