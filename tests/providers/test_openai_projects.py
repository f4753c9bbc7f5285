"""The projects of an OpenAI organisation, as an admin key lists them."""

from __future__ import annotations

import pytest

from monitor.providers.base import AuthFailed, Project
from monitor.providers.openai.projects import PROJECTS
from tests.providers.answers import cursor, response


def test_projects_have_ids_names_and_may_be_archived() -> None:
    items = [
        {"id": "proj_a", "name": "search", "status": "active"},
        {"id": "proj_b", "name": None, "status": "archived"},
        {"id": ""},
    ]
    page = PROJECTS.read(PROJECTS.first, response({"data": items[::-1], "has_more": True}))
    assert page.items == (
        Project(id="proj_b", name="proj_b", archived=True),
        Project(id="proj_a", name="search"),
    )
    assert page.skipped == {"bad_id": 1}
    assert cursor(page, "after") == "proj_a"


def test_listing_projects_with_a_rejected_key_raises_auth_failed() -> None:
    with pytest.raises(AuthFailed):
        PROJECTS.read(PROJECTS.first, response({"error": {"message": "no", "code": "invalid_api_key"}}, 401))
