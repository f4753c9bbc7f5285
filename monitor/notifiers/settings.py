"""What the settings of all notifiers have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from monitor.notifiers.outgoing import url_problem
from monitor.secret import Redactor, Secret


class Settings(BaseModel):
    """The base of one channel's settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    required_secrets: ClassVar[tuple[str, ...]] = ()
    """Secrets of which the text or the file must be given."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    """The `notifier` label and the end of every delivery key; unique."""


def _checked_url(value: SecretStr) -> SecretStr:
    problem = url_problem(value.get_secret_value())
    if problem is not None:
        raise ValueError(problem)
    return value


SecretUrl = Annotated[SecretStr, AfterValidator(_checked_url)]
"""The URL of a target, which is a secret by itself."""


def secret(text: SecretStr | None, path: Path | None, redactor: Redactor) -> Secret | None:
    """The secret of a setting and its `_file` twin; None where neither is given."""
    if text is None and path is None:
        return None
    return Secret(text.get_secret_value() if text is not None else None, path=path, redactor=redactor)
