"""The common part of all notifier settings: a name, secrets as text or file, and the notifier they build."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from typing import Annotated, Any, ClassVar, TextIO

import aiohttp
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from monitor.domain.text import NAME
from monitor.notifiers.address import url_problem
from monitor.notifiers.base import Channel, Notifier
from monitor.notifiers.http import HttpNotifier
from monitor.secret import Redactor, Secret, is_secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """The connections that notifiers share."""

    session: aiohttp.ClientSession
    """Uses each connection once."""
    redactor: Redactor
    timeout: float
    """Seconds for one request."""
    stream: TextIO
    """The stream to which `console` prints."""
    kept: aiohttp.ClientSession | None = None
    """Uses connections again, for targets that recognise duplicates."""
    public_only: bool = False
    """Whether to refuse every address that is not public. The sessions are created with this setting as well."""


class ChannelSettings(BaseModel):
    """The base of the settings of all channels."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)

    required_secrets: ClassVar[tuple[str, ...]] = ()
    """Secrets that must be given, as text or as file."""

    type: str
    name: str = Field(pattern=NAME)
    """The `notifier` label and the end of every delivery key; unique."""
    was: str | None = Field(default=None, pattern=NAME)
    """The former name. Deliveries that are pending under it are sent by this notifier, with unchanged keys."""

    @property
    def keeps_cards(self) -> bool:
        """Whether each job has one message, which is edited in place."""
        return False

    @property
    def shows_pictures(self) -> bool:
        """Whether a picture can be shown below a card."""
        return False

    @property
    def groups_by_itself(self) -> bool:
        """Whether the receiver groups messages itself, so that it gets each one separately."""
        return False

    @property
    def forgets_after(self) -> timedelta | None:
        """The time after which the receiver considers a state over unless it is sent again; None if it never does."""
        return None

    def notifier(self, connections: Connections) -> Notifier:
        """The notifier with these settings."""
        raise NotImplementedError

    def secrets(self, redactor: Redactor) -> Mapping[str, tuple[Secret, ...]]:
        """The secrets that can also be given as files, by name. These and all others are added to the redactor.

        Raises ValueError if a required one is missing.
        """
        fields = type(self).model_fields
        for name in fields:
            value = getattr(self, name)
            by_name = value if isinstance(value, Mapping) else {"secret": value}
            redactor.add(text for key, part in by_name.items() for text in _texts(part) if is_secret(key, text))
        found = {name: tuple(self._secret(name, redactor)) for name in fields if f"{name}_file" in fields}
        for name in self.required_secrets:
            if not found[name]:
                raise ValueError(f"{name} or {name}_file is needed")
        return found

    def _secret(self, name: str, redactor: Redactor) -> Iterator[Secret]:
        yield from (Secret(text) for text in _texts(getattr(self, name)))
        files = getattr(self, f"{name}_file")
        for path in files if isinstance(files, tuple) else filter(None, (files,)):
            yield Secret(path=path, redactor=redactor, check=partial(check_text, type(self), name))


class HttpSettings(ChannelSettings):
    """The base of the settings of HTTP channels."""

    idempotent: ClassVar[bool] = True
    """Whether the receiver recognises duplicates by the delivery key."""
    min_gap: ClassVar[float] = 0.0
    """The least number of seconds between two messages to one target, from the vendor's rate limit."""
    shared: ClassVar[tuple[str, ...]] = ()
    """The settings that identify a target with a rate limit; empty if every notifier is a target of its own."""

    def open(self, secrets: Mapping[str, tuple[str, ...]]) -> Channel:
        """The channel with the current texts of its secrets, which are given by name."""
        raise NotImplementedError

    def notifier(self, connections: Connections) -> Notifier:
        """A notifier that uses the guarded session."""
        secrets = self.secrets(connections.redactor)
        return HttpNotifier(
            name=self.name,
            connect=self.open,
            secrets=secrets,
            session=connections.session,
            redact=connections.redactor,
            timeout=connections.timeout,
            lane=self._lane(secrets),
            min_gap=self.min_gap,
            idempotent=self.idempotent,
            kept=connections.kept,
        )

    def _lane(self, secrets: Mapping[str, tuple[Secret, ...]]) -> str:
        if not self.shared:
            return f"{self.type}:{self.name}"
        identity = "\n".join(str(self._identity(name, secrets)) for name in self.shared)
        return f"{self.type}:{hashlib.sha256(identity.encode()).hexdigest()}"

    def _identity(self, name: str, secrets: Mapping[str, tuple[Secret, ...]]) -> object:
        if name not in secrets:
            return getattr(self, name)
        try:
            return [secret.read() for secret in secrets[name]]
        except (OSError, ValueError):  # not there yet: its path identifies the target as well
            return getattr(self, f"{name}_file")


def check_text(model: type[BaseModel], name: str, text: str) -> None:
    """Raises ValueError, without the text, if this setting of a model would reject it."""
    try:
        _adapter(model, name).validate_python(text)
    except ValidationError as error:
        errors = error.errors(include_input=False, include_url=False)
        # In a union, every branch reports an error: prefer the one from a validator of our own.
        own = [str(each["ctx"]["error"]) for each in errors if each["type"] == "value_error"]
        raise ValueError(next(iter(own), errors[0]["msg"])) from None


@cache
def _adapter(model: type[BaseModel], name: str) -> TypeAdapter[Any]:
    field = model.model_fields[name]
    kind: Any = field.annotation  # for mypy, an annotation is not a type
    return TypeAdapter(Annotated[kind, *field.metadata] if field.metadata else kind)


def _texts(value: object) -> Iterator[str]:
    """The secret texts in a setting, including those in lists and mappings."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, Mapping):
        yield from _texts(tuple(value.values()))
    elif isinstance(value, tuple):
        yield from (text for part in value for text in _texts(part))


def _checked_url(value: SecretStr) -> SecretStr:
    problem = url_problem(value.get_secret_value())
    if problem is not None:
        raise ValueError(problem)
    return value


SecretUrl = Annotated[SecretStr, AfterValidator(_checked_url)]
"""The URL of a target, which is a secret."""
