"""The vendors' languages, one file each: their settings, what to ask, what the answers mean. No I/O."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from monitor.providers._openai_admin import OpenAIAccounts
from monitor.providers.openai import OpenAI, OpenAISettings

OrganizationSettings = Annotated[OpenAISettings, Field(discriminator="provider")]
"""One organisation's settings, told apart by `provider`; a new provider joins here."""

__all__ = ["OpenAI", "OpenAIAccounts", "OpenAISettings", "OrganizationSettings"]
