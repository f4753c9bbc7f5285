"""How an OpenAI server answers, as a test writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from monitor.domain.model import Job, JobEvent
from monitor.providers import OpenAI
from monitor.providers.base import Page, Response

SAMPLES = Path(__file__).parent / "samples"
DIALECT = OpenAI(base_url="https://api.openai.com/v1")
CREATED = 1_721_764_800


def response(body: object, status: int = 200) -> Response:
    """An answer with this body, as JSON unless it is bytes."""
    return Response(status=status, body=body if isinstance(body, bytes) else json.dumps(body).encode())


def page_of(*items: object) -> Response:
    """The last page of a list."""
    return response({"object": "list", "data": list(items), "has_more": False})


def jobs(*items: object) -> Page[Job]:
    """What is understood of these job objects."""
    return DIALECT.read_jobs("research", page_of(*items))


def job(**fields: Any) -> Job:
    """A job as a server describes it, with these fields."""
    (found,) = jobs({"id": "ftjob-1", "status": "running", "created_at": CREATED, **fields}).items
    return found


def events(*items: object) -> Page[JobEvent]:
    """What is understood of these event objects."""
    return DIALECT.read_events("research", "ftjob-1", page_of(*items))


def event(**fields: Any) -> JobEvent:
    """An event as a server describes it, with these fields."""
    (found,) = events({"id": "ftevent-1", "created_at": CREATED, "level": "info", "message": "x", **fields}).items
    return found
