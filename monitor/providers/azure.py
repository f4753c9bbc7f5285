"""Azure OpenAI (Microsoft Foundry): OpenAI's API at a resource's dated or v1 addresses, with a key or Entra ID.

learn.microsoft.com/azure/ai-foundry/openai. The statuses are those of azure-rest-api-specs 2024-10-21 and of azd.
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
from monitor.providers.openai.jobs import Origin
from monitor.providers.openai.models import MODELS
from monitor.providers.openai.naming import NAMING
from monitor.providers.openai.push import PushedOrganization, push

_SCOPE: Final = "https://ai.azure.com/.default"
_AUTHORITY: Final = "https://login.microsoftonline.com"
_HOSTS: Final = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")
_WEBHOOKS: Final = "/dashboard/webhook_endpoints"  # only v1 addresses have it
_ID: Final = r"^[A-Za-z0-9._-]{1,128}$"


class EntraSettings(BaseModel):
    """The client credentials of an Entra ID application that may read the resource."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True, hide_input_in_errors=True
    )

    required_secrets: ClassVar[tuple[str, ...]] = ("client_secret",)

    tenant_id: str = Field(pattern=_ID)
    """The Entra ID tenant (directory)."""
    client_id: str = Field(pattern=_ID)
    """The application (client) id."""
    client_secret: SecretStr | None = None
    """The client secret of the application."""
    client_secret_file: Path | None = None
    """A file with the client secret, read again whenever it changes."""
    authority: BaseUrl = _AUTHORITY
    """The authority that issues tokens; another one for other clouds."""
    scope: str = Field(default=_SCOPE, min_length=1, max_length=256)
    """The OAuth scope that is requested."""


class AzureSettings(PushedOrganization):
    """A resource of Azure OpenAI, or a project of Foundry."""

    families: ClassVar[frozenset[JobKind]] = frozenset(JobKind)

    provider: Literal["azure"]
    """Azure OpenAI."""
    base_url: BaseUrl | None = None
    """The v1 address: `https://RESOURCE.openai.azure.com/openai/v1`."""
    endpoint: BaseUrl | None = None
    """For dated addresses instead: the resource, `https://RESOURCE.openai.azure.com`."""
    api_version: str | None = Field(default=None, pattern=r"^[0-9a-z-]{1,32}$")
    """The API version of the dated addresses, such as `2025-04-01-preview`."""
    api_key: SecretStr | None = None
    """A key of the resource."""
    api_key_file: Path | None = None
    """A file with the key, read again whenever it changes."""
    entra: EntraSettings | None = None
    """Instead of a key: an application of Entra ID."""
    token_file: Path | None = None
    """Instead of a key: a file with an access token that another program keeps fresh."""

    @model_validator(mode="after")
    def _check_alternatives(self) -> AzureSettings:
        if (self.base_url is None) == (self.endpoint is None):
            raise ValueError("give either base_url (v1) or endpoint and api_version (dated)")
        if (self.endpoint is None) != (self.api_version is None):
            raise ValueError("endpoint and api_version belong together")
        ways = (self.api_key or self.api_key_file, self.entra, self.token_file)
        if sum(way is not None for way in ways) != 1:
            raise ValueError("give one of api_key, entra and token_file")
        return self

    def credentials(self) -> Mapping[str, tuple[str | None, Path | None]]:
        """The configured secrets by setting name; with Entra ID, the client secret among them."""
        secret = self.entra.client_secret if self.entra is not None else None
        path = self.entra.client_secret_file if self.entra is not None else None
        own = super().credentials()
        if self.entra is None:
            return own
        return {**own, "client_secret": (secret.get_secret_value() if secret is not None else None, path)}

    def vendor(self) -> Provider:
        """Build the provider for this resource."""
        base_url = self.base_url or f"{self.endpoint}/openai"
        ours = (urlsplit(base_url).hostname or "").endswith(_HOSTS)
        return Provider(
            name="azure",
            base_url=base_url,
            auth=self._auth(),
            query={} if self.api_version is None else {"api-version": self.api_version},
            jobs=job_lists(Origin(org=self.name, provider="azure", failed_is_free=True), self.watch),
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
