"""Who may call: organisations, their projects, and the keys that open them."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random, SystemRandom

from monitor.simulator import errors
from monitor.simulator.draws import derived, dice, mark

_NAMES = ("research", "search", "support", "growth", "legal", "translation", "finance", "robotics")


@dataclass(frozen=True)
class Project:
    """A project and its key; files belong to projects."""

    id: str
    name: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class Org:
    """An organisation with at least one project; jobs and models belong to organisations."""

    id: str
    name: str
    projects: tuple[Project, ...]

    @property
    def key(self) -> str:
        """The key of the first project."""
        return self.projects[0].key

    @property
    def admin_key(self) -> str:
        """The key that opens the organisation's books, and nothing else."""
        return f"sk-admin-{derived(40, self.key, 'admin')}"


@dataclass(frozen=True)
class Caller:
    """Whose key a request carried."""

    org: Org
    project: Project


def organisations(count: int, *, projects: int = 1, seed: object = None) -> tuple[Org, ...]:
    """`count` organisations with different names, ids and keys; without `seed` every call makes new ones."""
    rng = SystemRandom() if seed is None else dice(seed, "organisations")
    return tuple(_organisation(rng, _name(index), projects) for index in range(count))


def _name(index: int) -> str:
    return _NAMES[index] if index < len(_NAMES) else f"team-{index + 1}"


def _organisation(rng: Random, name: str, projects: int) -> Org:
    names = ["default", *(f"project-{number}" for number in range(2, projects + 1))]
    made = (Project(id=f"proj_{mark(rng, 24)}", name=each, key=f"sk-proj-{mark(rng, 40)}") for each in names)
    return Org(id=f"org-{mark(rng, 24)}", name=name, projects=tuple(made))


def keyring(orgs: tuple[Org, ...]) -> dict[str, Caller]:
    """Whom each key stands for."""
    return {project.key: Caller(org, project) for org in orgs for project in org.projects}


def admin_keyring(orgs: tuple[Org, ...]) -> dict[str, Caller]:
    """Whose books each admin key opens."""
    return {org.admin_key: Caller(org, org.projects[0]) for org in orgs}


def recognise(keys: Mapping[str, Caller], headers: Mapping[str, str]) -> Caller:
    """The caller that `headers` prove; raises ApiError 401, also if one names another organisation or project."""
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip(string.whitespace):
        raise errors.no_key()
    caller = keys.get(key.strip())
    if caller is None:
        raise errors.wrong_key(key.strip())
    if headers.get("OpenAI-Organization", caller.org.id) != caller.org.id:
        raise errors.mismatched_organization()
    if headers.get("OpenAI-Project", caller.project.id) != caller.project.id:
        raise errors.mismatched_project()
    return caller
