"""OpenAI's API as at https://api.openai.com/v1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monitor.simulator import errors
from monitor.simulator.dialect import Dialect, Sent, bearer
from monitor.simulator.errors import ApiError
from monitor.simulator.openai.batches import BATCHES
from monitor.simulator.openai.costs import COSTS
from monitor.simulator.openai.files import FILES
from monitor.simulator.openai.jobs import JOBS
from monitor.simulator.openai.models import MODELS
from monitor.simulator.openai.webhooks import WEBHOOKS
from monitor.simulator.orgs import Caller, Org, admin_keyring, keyring


def authenticate(orgs: Sequence[Org], sent: Sent, admin: bool) -> Caller:
    """Authenticate a request. Raises ApiError 401, also if a header names another organisation or project."""
    caller = bearer(keyring(orgs) | (admin_keyring(orgs) if admin else {}), sent)
    if sent.headers.get("OpenAI-Organization", caller.org.id) != caller.org.id:
        raise errors.mismatched_organization()
    if sent.headers.get("OpenAI-Project", caller.project.id) != caller.project.id:
        raise errors.mismatched_project()
    return caller


def error_response(error: ApiError) -> tuple[Any, Mapping[str, str]]:
    """OpenAI's error body."""
    return error.envelope(), {}


def _configuration(org: Org, address: str, _folder: Path) -> dict[str, Any]:
    return {
        "base_url": f"{address}/v1",
        "api_key": org.key,
        "admin_key": org.admin_key,
        "organization": org.id,
    }


OPENAI = Dialect(
    provider="openai",
    prefix="/v1",
    routes=(*JOBS, *FILES, *MODELS, *BATCHES, *WEBHOOKS, *COSTS),
    authenticate=authenticate,
    error_response=error_response,
    configuration=_configuration,
)
