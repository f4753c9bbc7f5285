"""OpenAI's fine-tuning API, and all servers that copy it."""

from __future__ import annotations

from collections.abc import Container
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from monitor.domain.model import JobKind
from monitor.providers._settings import BaseUrl, KeyedOrganization
from monitor.providers.base import Billing, KeyAuth, Provider
from monitor.providers.openai import billing
from monitor.providers.openai.calls import FILES, events, job_lists
from monitor.providers.openai.jobs import Teller
from monitor.providers.openai.models import MODELS
from monitor.providers.openai.naming import NAMING
from monitor.providers.openai.push import PushedOrganization, push

_HOST: Final = "api.openai.com"  # and `eu.api.openai.com` and so on, where data residency is agreed
_PAGE_URL: Final = "https://platform.openai.com/finetune/"
_BATCH_URL: Final = "https://platform.openai.com/batches/"
_ACCOUNT: Final = r"^[A-Za-z0-9_.:-]{1,128}$"


class OpenAISettings(KeyedOrganization, PushedOrganization):
    """An organisation at OpenAI, or at a server with the same API."""

    families: ClassVar[frozenset[JobKind]] = frozenset(JobKind)

    provider: Literal["openai"]
    """OpenAI, or whoever speaks its language at `base_url`."""
    base_url: BaseUrl = "https://api.openai.com/v1"
    """Where the API is. The key is sent nowhere else."""
    organization: str | None = Field(default=None, pattern=_ACCOUNT)
    """The OpenAI-Organization header, for keys of users in several organisations."""
    project: str | None = Field(default=None, pattern=_ACCOUNT)
    """The OpenAI-Project header."""
    admin_key: SecretStr | None = None
    """An admin key, for billed costs and usage."""
    admin_key_file: Path | None = None
    """A file with the admin key."""

    def vendor(self) -> Provider:
        """What can be asked of this organisation's server."""
        return provider(
            self.name,
            self.base_url,
            organization=self.organization,
            project=self.project,
            billed=self.admin_key is not None or self.admin_key_file is not None,
            watch=self.watch,
        )


def provider(
    org: str,
    base_url: str,
    *,
    organization: str | None = None,
    project: str | None = None,
    billed: bool = False,
    watch: Container[JobKind] = (JobKind.FINE_TUNING,),
) -> Provider:
    """An organisation at OpenAI. `billed`: there is an admin key, which belongs to no project."""
    ours = at_openai(base_url)
    account = {} if organization is None else {"OpenAI-Organization": organization}
    teller = Teller(
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
        jobs=job_lists(teller, watch, copied=not ours),
        events=partial(events, org),
        files=FILES,
        models=MODELS,
        billing=_billing(org, account, project) if billed else None,
        push=push(watch=watch),
        naming=NAMING,
        seller="openai" if ours else None,
    )


def at_openai(base_url: str) -> bool:
    """Whether this is OpenAI itself and not a copy of its API."""
    host = (urlsplit(base_url).hostname or "").rstrip(".")
    return host == _HOST or host.endswith("." + _HOST)


def _billing(org: str, account: dict[str, str], project: str | None) -> Billing:
    return Billing(
        auth=KeyAuth(secret="admin_key"),  # noqa: S106 - the name of a setting
        headers=account,
        usage=partial(billing.usage, org, project),
        bill=partial(billing.bill, org, project),
    )
