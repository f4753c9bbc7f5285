"""The projects of an OpenAI organisation, which an admin key may list, and the header that names an answer's project.

platform.openai.com/docs/api-reference/projects
"""

from __future__ import annotations

from typing import Final

from monitor.providers._json import Object, Parsed, Skip
from monitor.providers._values import identifier, text
from monitor.providers.base import Listing, Page, Project, Request, Response
from monitor.providers.openai.shape import first_page, read_page

ANSWERED_FOR: Final = "openai-project"
"""The response header that names the project of the API key."""


def _read(request: Request, response: Response) -> Page[Project]:
    return read_page(request, response, _parse_project, one=False)


def _parse_project(item: Object) -> Parsed[Project] | Skip:
    id_ = identifier(item.get("id"))
    if id_ is None:
        return "bad_id"
    return Parsed(Project(id=id_, name=text(item.get("name"), 128) or id_, archived=item.get("status") == "archived"))


PROJECTS: Final = Listing(first=first_page("list_projects", "/organization/projects"), read=_read)
