"""What the settings of all notifiers have in common: a name, secrets as text or file, and the notifier they build."""

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
    """What a notifier reaches the world by."""

    session: aiohttp.ClientSession
    redactor: Redactor
    timeout: float
    """Seconds for one request."""
    stream: TextIO
    """Where the console prints."""
    public_only: bool = False
    """Refuse every address that is not public. The session knows it by itself."""


class ChannelSettings(BaseModel):
    """The base of one channel's settings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True, defer_build=True
    )

    required_secrets: ClassVar[tuple[str, ...]] = ()
    """Secrets of which the text or the file must be given."""

    type: str
    name: str = Field(pattern=NAME)
    """The `notifier` label and the end of every delivery key; unique."""
    was: str | None = Field(default=None, pattern=NAME)
    """Its name before it was renamed: what waits under that is sent by this one, with the keys it has."""

    @property
    def keeps_cards(self) -> bool:
        """Whether each job has one message there that is edited in place."""
        return False

    @property
    def shows_pictures(self) -> bool:
        """Whether a picture can be shown below a card."""
        return False

    @property
    def groups_by_itself(self) -> bool:
        """Whether its receiver groups what it gets, so that it gets each message alone."""
        return False

    @property
    def forgets_after(self) -> timedelta | None:
        """After how long it takes a state for over that is not sent again; None where what was sent stays."""
        return None

    def notifier(self, connections: Connections) -> Notifier:
        """What sends by these settings."""
        raise NotImplementedError

    def secrets(self, redactor: Redactor) -> Mapping[str, tuple[Secret, ...]]:
        """Every secret that also exists as a file, by its name; the redactor learns these and all others.

        Raises ValueError where a required one is not given.
        """
        fields = type(self).model_fields
        for name in fields:
            value = getattr(self, name)
            named = value if isinstance(value, Mapping) else {"secret": value}
            redactor.add(text for key, each in named.items() for text in _texts(each) if is_secret(key, text))
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
    """The base of the settings of channels that speak HTTP."""

    idempotent: ClassVar[bool] = True
    """The receiver knows the delivery key and drops what it has."""
    min_gap: ClassVar[float] = 0.0
    """Seconds between two messages to one target, by the vendor's rate limit."""
    shared: ClassVar[tuple[str, ...]] = ()
    """The settings that distinguish one rate-limited target from another; none where each notifier is its own."""

    def open(self, secrets: Mapping[str, tuple[str, ...]]) -> Channel:
        """The channel with the present texts of its secrets, by their names."""
        raise NotImplementedError

    def notifier(self, connections: Connections) -> Notifier:
        """The channel behind the guarded session."""
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
            return [one.read() for one in secrets[name]]
        except (OSError, ValueError):  # not there yet: its place tells it apart from others too
            return getattr(self, f"{name}_file")


def check_text(model: type[BaseModel], name: str, text: str) -> None:
    """Raises ValueError, without the text, where this setting of a model would refuse it."""
    try:
        _adapter(model, name).validate_python(text)
    except ValidationError as error:
        flaws = error.errors(include_input=False, include_url=False)
        # Of a union all branches complain; the one that came as far as our own rule knows best.
        own = [str(flaw["ctx"]["error"]) for flaw in flaws if flaw["type"] == "value_error"]
        raise ValueError(next(iter(own), flaws[0]["msg"])) from None


@cache
def _adapter(model: type[BaseModel], name: str) -> TypeAdapter[Any]:
    field = model.model_fields[name]
    kind: Any = field.annotation  # an annotation is no type to mypy
    return TypeAdapter(Annotated[kind, *field.metadata] if field.metadata else kind)


def _texts(value: object) -> Iterator[str]:
    """The secret texts in a setting, also those of a list or a mapping."""
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
"""The URL of a target, which is a secret by itself."""
