"""Checks that every secret is given once, as a text or as a file, and can be read. No message contains a secret."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from monitor.config.problems import Issue, choice
from monitor.config.sections import Section, mentions, required_secrets, secret_names
from monitor.notifiers.settings import check_text
from monitor.secret import text_of

# Files that Docker, Podman and Kubernetes mount here are protected by them.
_MOUNTED: Final = (Path("/run/secrets"), Path("/var/run/secrets"))
_OTHERS: Final = 0o077  # permissions of other users
_EMPTY_KEY: Final = "whsec_"  # only the prefix of a signing secret


def trim(section: Section) -> None:
    """Strip white space from the secrets of a section in place, like that of secrets in files."""
    for name in secret_names(section.model):
        if name in section.node:
            section.node[name] = _stripped(section.node[name])


def credential_issues(section: Section) -> Iterator[Issue]:
    """The problems with the secrets of one section."""
    for name in secret_names(section.model):
        text, file = name in section.node, f"{name}_file" in section.node
        if text and file:
            yield Issue((*section.loc, f"{name}_file"), f"give either {name} or {name}_file, not both")
        elif not text and not file and name in required_secrets(section.model):
            yield Issue((*section.loc, name), f"is required ({choice((name, f'{name}_file'))})")
        if text:
            yield from _text_issues(section, name)
        if file:
            yield from _file_issues(section, f"{name}_file")


def shown_secrets(section: Section) -> Iterator[str]:
    """The secret texts of a section, which must never be shown."""
    for name, field in section.model.model_fields.items():
        if mentions(field.annotation, SecretStr):
            yield from (
                text for text in _texts(section.node.get(name)) if text != _EMPTY_KEY and not text.startswith("sqlite:")
            )


def known_secrets(section: Section, name: str) -> tuple[str, ...]:
    """The present values of a secret, from its text or its files. Files that cannot be read are skipped."""
    files = _texts(section.node.get(f"{name}_file"))
    read = (_read(Path(file)) for file in files)
    return (*_texts(section.node.get(name)), *(text for text in read if not isinstance(text, ValueError | OSError)))


def _text_issues(section: Section, name: str) -> Iterator[Issue]:
    value, loc = section.node[name], (*section.loc, name)
    items = value if isinstance(value, list) else [value]
    if not items:
        yield Issue(loc, "is empty")
    for at, item in enumerate(items):
        where = (*loc, at) if isinstance(value, list) else loc
        if item is None or isinstance(item, str):
            problem = _unusable(item or "")
            if problem:
                yield Issue(where, problem)


def _file_issues(section: Section, name: str) -> Iterator[Issue]:
    value, loc = section.node[name], (*section.loc, name)
    if value is None or value == []:
        yield Issue(loc, "is empty")
    for at, file in enumerate(value if isinstance(value, list) else [value]):
        where = (*loc, at) if isinstance(value, list) else loc
        if isinstance(file, str):
            problem = _file_problem(section, name, Path(file))
            if problem:
                yield Issue(where, problem)
            elif _readable_by_others(Path(file)):
                yield Issue(where, "the file can be read by other users; chmod 600 would keep it private", warning=True)


def _file_problem(section: Section, name: str, path: Path) -> str | None:
    text = _read(path)
    if isinstance(text, FileNotFoundError):
        # The folder is named only where it exists: what stands here by mistake may be the secret itself.
        return f"there is no such file in {path.parent}" if path.parent.is_dir() else "there is no such file or folder"
    if isinstance(text, OSError):
        return f"the file cannot be read ({text.strerror or type(text).__name__})"
    if isinstance(text, ValueError):
        return str(text)
    problem = _unusable(text) or _refused(section, name.removesuffix("_file"), text)
    return f"the secret in the file {problem}" if problem else None


def _refused(section: Section, name: str, text: str) -> str | None:
    """Why the setting would reject this text if it were in the configuration file; None if it would not."""
    try:
        check_text(section.model, name, text)
    except ValueError as error:
        return str(error)
    return None


def _read(path: Path) -> str | OSError | ValueError:
    try:
        return text_of(path)
    except OSError as error:
        return error
    except ValueError as error:
        # The standard library raises ValueError for a path with a NUL character.
        return error if "secret" in str(error) else ValueError("the name of the file is invalid")


def _unusable(secret: str) -> str | None:
    if secret in {"", _EMPTY_KEY}:
        return "is empty"
    if any(character.isspace() or not character.isprintable() for character in secret):
        return "contains white space or control characters"
    return None


def _readable_by_others(path: Path) -> bool:
    if any(path.is_relative_to(mount) for mount in _MOUNTED):
        return False
    status = path.stat()
    return status.st_uid == os.getuid() and bool(stat.S_IMODE(status.st_mode) & _OTHERS)


def _stripped(value: Any) -> Any:
    if isinstance(value, list):
        return [_stripped(item) for item in value]
    return value.strip() if isinstance(value, str) else value


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []
