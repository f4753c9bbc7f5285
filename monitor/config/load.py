"""Loads settings from a file or a tree, or reports all of its problems."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from monitor.config.credentials import credential_issues, shown_secrets, trim
from monitor.config.crosscheck import crosscheck
from monitor.config.prices import load_prices
from monitor.config.problems import ConfigError, Issue, Loc, LocatedIssue
from monitor.config.reading import document, first_per_location, problems, validate_tree
from monitor.config.sections import Section, path_names, sections
from monitor.config.settings import Settings
from monitor.config.webfile import web_config
from monitor.config.yaml import Document
from monitor.secret import Redactor


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """The settings in a file. Raises ConfigError with all problems, or OSError if the file cannot be read."""
    return examine(path, environ)[0]


def examine(path: Path, environ: Mapping[str, str]) -> tuple[Settings, tuple[LocatedIssue, ...]]:
    """The settings in a file, and warnings. Raises ConfigError with all problems, or OSError."""
    return _settings(document(path, environ), str(path), path.parent.absolute())


def settings_from(tree: Mapping[str, Any]) -> Settings:
    """The settings in a tree. Relative paths are relative to the working directory. Raises ConfigError."""
    return _settings(Document(tree=deepcopy(dict(tree))), "(settings)", Path.cwd())[0]


def _settings(read: Document, file: str, folder: Path) -> tuple[Settings, tuple[LocatedIssue, ...]]:
    parts = list(sections(Settings, read.tree))
    redactor = Redactor()
    for part in parts:
        trim(part)
        _anchor(part, folder)
        redactor.add(shown_secrets(part))
    settings, found = validate_tree(Settings, read.tree, parts)
    unread = {issue.loc[:-1] for issue in read.issues}  # a section with unreadable values is not also called incomplete
    wrong = [issue for issue in found if issue.loc not in unread]
    credentials = [issue for part in parts for issue in credential_issues(part)]
    if isinstance(read.tree, dict):
        wrong += crosscheck(read.tree, parts)
    issues = list(first_per_location(read.issues, credentials, wrong))
    elsewhere = [
        *_problems_in(load_prices, ("pricing", "file"), read, file=file, parts=parts),
        *_problems_in(web_config, ("server", "web_config_file"), read, file=file, parts=parts),
    ]
    errors = [issue for issue in issues if not issue.warning]
    if errors or elsewhere or settings is None:
        raise ConfigError([*problems(errors, read, file, redactor), *elsewhere])
    return settings, tuple(sorted(problems(issues, read, file, redactor)))


def _problems_in(
    reader: Callable[[Path], object], loc: Loc, read: Document, *, file: str, parts: list[Section]
) -> Iterator[LocatedIssue]:
    """The problems in another file that the settings refer to, with their locations in that file."""
    named = next((part.node.get(str(loc[-1])) for part in parts if part.loc == loc[:-1]), None)
    if not isinstance(named, str):
        return
    try:
        reader(Path(named))
    except ConfigError as error:
        yield from error.problems
    except (OSError, ValueError) as error:  # a name with a NUL character raises ValueError
        reason = (isinstance(error, OSError) and error.strerror) or "its name is invalid"
        yield from problems([Issue(loc, f"cannot be read ({reason})")], read, file, Redactor())


def _anchor(part: Section, folder: Path) -> None:
    """Resolve the file names of a section relative to the folder of the configuration file, in place."""
    for name in path_names(part.model):
        value = part.node.get(name)
        if isinstance(value, str):
            part.node[name] = str(folder / value)
        elif isinstance(value, list):
            part.node[name] = [str(folder / item) if isinstance(item, str) else item for item in value]
