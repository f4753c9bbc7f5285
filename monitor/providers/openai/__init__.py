"""OpenAI's fine-tuning API, and servers that implement the same API."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from monitor.domain.model import JobKind
from monitor.providers._settings import BaseUrl, KeyedOrganization
from monitor.providers.base import Billing, Discovery, KeyAuth, Provider
from monitor.providers.openai import billing
from monitor.providers.openai.calls import FILES, checkpoints, events, job_lists
from monitor.providers.openai.jobs import Origin
from monitor.providers.openai.models import MODELS
from monitor.providers.openai.naming import NAMING
from monitor.providers.openai.projects import ANSWERED_FOR, PROJECTS
from monitor.providers.openai.push import PushedOrganization, push

_HOST: Final = "api.openai.com"  # also regional hosts for data residency, such as `eu.api.openai.com`
_PAGE_URL: Final = "https://platform.openai.com/finetune/"
_BATCH_URL: Final = "https://platform.openai.com/batches/"
_ADMIN: Final = KeyAuth(secret="admin_key")  # noqa: S106 - the name of a setting
_ACCOUNT: Final = r"^[A-Za-z0-9_.:-]{1,128}$"


class DiscoverSettings(BaseModel):
    """What the admin key is used to discover."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    projects: Literal["*"]
    """All projects: those that no configured key belongs to are named in the log and by `check --online`."""


class OpenAISettings(KeyedOrganization, PushedOrganization):
    """An organisation at OpenAI, or at a server with the same API."""

    families: ClassVar[frozenset[JobKind]] = frozenset(JobKind)

    provider: Literal["openai"]
    """OpenAI, or a server with the same API at `base_url`."""
    base_url: BaseUrl = "https://api.openai.com/v1"
    """The address of the API. The key is sent nowhere else."""
    organization: str | None = Field(default=None, pattern=_ACCOUNT)
    """The OpenAI-Organization header, for keys of users in several organisations."""
    project: str | None = Field(default=None, pattern=_ACCOUNT)
    """The OpenAI-Project header."""
    admin_key: SecretStr | None = None
    """An admin key, for billed costs and usage."""
    admin_key_file: Path | None = None
    """A file with the admin key."""
    discover: DiscoverSettings | None = None
    """What to discover with the admin key; nothing by default."""

    @model_validator(mode="after")
    def _discoverable(self) -> OpenAISettings:
        if self.discover is not None and not self._administered:
            raise ValueError("discover needs an admin_key")
        return self

    @property
    def _administered(self) -> bool:
        return self.admin_key is not None or self.admin_key_file is not None

    def vendor(self) -> Provider:
        """Build the provider for this organisation."""
        found = provider(
            self.name,
            self.base_url,
            organization=self.organization,
            project=self.project,
            billed=self._administered,
            watch=self.watch,
        )
        if self.discover is None:
            return found
        account = _account(self.organization)
        discovery = Discovery(auth=_ADMIN, headers=account, projects=PROJECTS, answered_for=ANSWERED_FOR)
        return replace(found, discovery=discovery)


def provider(
    org: str,
    base_url: str,
    *,
    organization: str | None = None,
    project: str | None = None,
    billed: bool = False,
    watch: Container[JobKind] = (JobKind.FINE_TUNING,),
) -> Provider:
    """Build the provider. `billed`: there is an admin key, which belongs to the organisation and to no project."""
    ours = at_openai(base_url)
    account = _account(organization)
    origin = Origin(
        org=org,
        provider="openai",
        page_url=_PAGE_URL if ours else None,
        batch_url=_BATCH_URL if ours else None,
        organization=organization,
    )
    return Provider(
        name="openai",
        base_url=base_url,
        auth=KeyAuth(),
        headers=account if project is None else {**account, "OpenAI-Project": project},
        jobs=job_lists(origin, watch, copied=not ours),
        events=partial(events, org),
        checkpoints=checkpoints,
        files=FILES,
        models=MODELS,
        billing=_billing(org, account, project) if billed else None,
        push=push(watch=watch),
        project=project,
        naming=NAMING,
        seller="openai" if ours else None,
    )


def _account(organization: str | None) -> dict[str, str]:
    return {} if organization is None else {"OpenAI-Organization": organization}


def at_openai(base_url: str) -> bool:
    """Whether this address is OpenAI's own and not a server that copies its API."""
    host = (urlsplit(base_url).hostname or "").rstrip(".")
    return host == _HOST or host.endswith("." + _HOST)


def _billing(org: str, account: dict[str, str], project: str | None) -> Billing:
    return Billing(
        auth=_ADMIN,
        headers=account,
        usage=partial(billing.usage, org, project),
        bill=partial(billing.bill, org, project),
    )
