"""Azure OpenAI (Microsoft Foundry): OpenAI's API at the addresses of a resource, dated or v1, with keys or Entra.

learn.microsoft.com/azure/ai-foundry/openai; statuses are those of azure-rest-api-specs 2024-10-21 and of azd.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, Literal
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from monitor.domain.model import JobKind
from monitor.providers._oauth import token_call
from monitor.providers._settings import BaseUrl
from monitor.providers.base import Auth, Call, KeyAuth, Provider, Token, TokenAuth
from monitor.providers.openai.calls import FILES, checkpoints, events, job_lists
from monitor.providers.openai.jobs import Teller
from monitor.providers.openai.models import MODELS
from monitor.providers.openai.naming import NAMING
from monitor.providers.openai.push import PushedOrganization, push

_SCOPE: Final = "https://ai.azure.com/.default"
_AUTHORITY: Final = "https://login.microsoftonline.com"
_HOSTS: Final = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")
_WEBHOOKS: Final = "/dashboard/webhook_endpoints"  # in v1 alone
_ID: Final = r"^[A-Za-z0-9._-]{1,128}$"


class EntraSettings(BaseModel):
    """An application of Entra ID that may read the resource: its client credentials."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    required_secrets: ClassVar[tuple[str, ...]] = ("client_secret",)

    tenant_id: str = Field(pattern=_ID)
    """The directory."""
    client_id: str = Field(pattern=_ID)
    """The application."""
    client_secret: SecretStr | None = None
    """Its secret."""
    client_secret_file: Path | None = None
    """A file with its secret, read again whenever it changes."""
    authority: BaseUrl = _AUTHORITY
    """Where tokens are given, such as that of another cloud."""
    scope: str = Field(default=_SCOPE, min_length=1, max_length=256)
    """What the token is for."""


class AzureSettings(PushedOrganization):
    """A resource of Azure OpenAI, or a project of Foundry."""

    families: ClassVar[frozenset[JobKind]] = frozenset(JobKind)

    provider: Literal["azure"]
    """Azure OpenAI."""
    base_url: BaseUrl | None = None
    """The v1 address: `https://RESOURCE.openai.azure.com/openai/v1`."""
    endpoint: BaseUrl | None = None
    """Instead, the resource, for dated addresses: `https://RESOURCE.openai.azure.com`."""
    api_version: str | None = Field(default=None, pattern=r"^[0-9a-z-]{1,32}$")
    """Which of them, such as `2025-04-01-preview`."""
    api_key: SecretStr | None = None
    """A key of the resource."""
    api_key_file: Path | None = None
    """A file with the key, read again whenever it changes."""
    entra: EntraSettings | None = None
    """Instead of a key, an application of Entra ID."""
    token_file: Path | None = None
    """Instead of a key, a file with an access token that somebody else keeps fresh."""

    @model_validator(mode="after")
    def _one_way(self) -> AzureSettings:
        if (self.base_url is None) == (self.endpoint is None):
            raise ValueError("give either base_url (v1) or endpoint and api_version (dated)")
        if (self.endpoint is None) != (self.api_version is None):
            raise ValueError("endpoint and api_version belong together")
        ways = (self.api_key or self.api_key_file, self.entra, self.token_file)
        if sum(way is not None for way in ways) != 1:
            raise ValueError("give one of api_key, entra and token_file")
        return self

    def credentials(self) -> Mapping[str, tuple[str | None, Path | None]]:
        """The key or the token; of Entra, the secret of the application."""
        secret = self.entra.client_secret if self.entra is not None else None
        path = self.entra.client_secret_file if self.entra is not None else None
        own = super().credentials()
        if self.entra is None:
            return own
        return {**own, "client_secret": (secret.get_secret_value() if secret is not None else None, path)}

    def vendor(self) -> Provider:
        """What can be asked of the resource."""
        base_url = self.base_url or f"{self.endpoint}/openai"
        ours = (urlsplit(base_url).hostname or "").endswith(_HOSTS)
        return Provider(
            name="azure",
            base_url=base_url,
            auth=self._auth(),
            query={} if self.api_version is None else {"api-version": self.api_version},
            jobs=job_lists(Teller(org=self.name, provider="azure", failed_is_free=True), self.watch),
            events=partial(events, self.name),
            checkpoints=checkpoints,
            files=FILES,
            models=MODELS,
            push=push(_WEBHOOKS if self.api_version is None else None, rotates=False, watch=self.watch),
            naming=NAMING,
            seller="azure" if ours else None,
        )

    def _auth(self) -> Auth:
        if self.entra is not None:
            return TokenAuth(secrets=("client_secret",), exchange=partial(_exchange, self.entra))
        if self.token_file is not None:
            return KeyAuth(secret="token")  # noqa: S106 - the name of a setting
        return KeyAuth(header="api-key", prefix="")


def _exchange(entra: EntraSettings, secrets: Mapping[str, str], _now: datetime) -> Call[Token]:
    return token_call(
        f"{entra.authority}/{quote(entra.tenant_id, safe='')}/oauth2/v2.0/token",
        {
            "grant_type": "client_credentials",
            "client_id": entra.client_id,
            "client_secret": secrets["client_secret"],
            "scope": entra.scope,
        },
    )
