"""The projects of an OpenAI organisation, as an admin key may list them, and of which project an answer is.

platform.openai.com/docs/api-reference/projects
"""

from __future__ import annotations

from typing import Final

from monitor.providers._json import Object, Partial, Skip
from monitor.providers._values import identifier, text
from monitor.providers.base import Listing, Page, Project, Request, Response
from monitor.providers.openai.shape import first_page, read_page

ANSWERED_FOR: Final = "openai-project"
"""The header that names the project of the key that asked."""


def _read(request: Request, response: Response) -> Page[Project]:
    return read_page(request, response, _understand, one=False)


def _understand(item: Object) -> Partial[Project] | Skip:
    id_ = identifier(item.get("id"))
    if id_ is None:
        return "bad_id"
    return Partial(Project(id=id_, name=text(item.get("name"), 128) or id_, archived=item.get("status") == "archived"))


PROJECTS: Final = Listing(first=first_page("list_projects", "/organization/projects"), read=_read)
