"""The callers of the API: organisations at a provider, their projects and their credentials."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random, SystemRandom

from monitor.simulator.draws import alphanumeric, derived, dice, digits

_NAMES = ("research", "search", "support", "growth", "legal", "translation", "finance", "robotics")


@dataclass(frozen=True)
class Project:
    """A project and its key. Files belong to projects."""

    id: str
    name: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class Org:
    """An organisation with at least one project. Jobs and models belong to organisations.

    Its `id` is the provider's name for it: an account, a resource or a cloud project.
    """

    id: str
    name: str
    projects: tuple[Project, ...]
    provider: str = "openai"
    number: int = 0
    """Its index among the organisations of its provider. Where there are two ways to authenticate, odd ones use the
    second."""

    @property
    def caller(self) -> Caller:
        """The caller with the key of the first project."""
        return Caller(self, self.projects[0])

    @property
    def key(self) -> str:
        """The key of the first project."""
        return self.projects[0].key

    @property
    def admin_key(self) -> str:
        """The key that may read the organisation's costs, and nothing else."""
        return f"sk-admin-{derived(40, self.key, 'admin')}"


@dataclass(frozen=True)
class Caller:
    """The organisation and the project that a request's key belongs to."""

    org: Org
    project: Project


@dataclass(frozen=True)
class _Naming:
    """How a provider forms ids of organisations, keys, and ids of jobs and batches."""

    org: Callable[[Random, str], str]
    key: Callable[[Random], str]
    job: Callable[[Random], str]
    batch: Callable[[Random], str] = lambda rng: f"batch_{rng.getrandbits(128):032x}"


def _uuid(rng: Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


_NAMINGS = {
    "openai": _Naming(
        org=lambda rng, _: f"org-{alphanumeric(rng, 24)}",
        key=lambda rng: f"sk-proj-{alphanumeric(rng, 40)}",
        job=lambda rng: f"ftjob-{alphanumeric(rng, 24)}",
    ),
    "azure": _Naming(
        org=lambda rng, name: f"{name}-{digits(rng, 4)}",
        key=lambda rng: alphanumeric(rng, 84),
        job=lambda rng: f"ftjob-{rng.getrandbits(128):032x}",
        batch=lambda rng: f"batch_{_uuid(rng)}",
    ),
    "together": _Naming(
        org=lambda rng, _: f"{rng.getrandbits(96):024x}",
        key=lambda rng: f"tgp_v1_{alphanumeric(rng, 43)}",
        job=lambda rng: f"ft-{_uuid(rng)}",
    ),
    "fireworks": _Naming(
        org=lambda rng, name: f"{name}-{alphanumeric(rng, 6).lower()}",
        key=lambda rng: f"fw_{alphanumeric(rng, 24)}",
        job=lambda rng: alphanumeric(rng, 8).lower(),
    ),
    "vertex": _Naming(
        org=lambda rng, name: f"{name}-{digits(rng, 6)}",
        key=lambda rng: f"ya29.{alphanumeric(rng, 60)}",
        job=lambda rng: digits(rng, 19),
    ),
    "bedrock": _Naming(
        org=lambda rng, _: digits(rng, 12),
        key=lambda rng: f"ABSK{alphanumeric(rng, 108)}",
        job=lambda rng: alphanumeric(rng, 12).lower(),
        batch=lambda rng: alphanumeric(rng, 12).lower(),
    ),
}
PROVIDERS = tuple(_NAMINGS)


def organisations(
    count: int, *, projects: int = 1, seed: object = None, providers: Sequence[str] = ("openai",)
) -> tuple[Org, ...]:
    """`count` organisations at each provider with different names, ids and keys; random ones without `seed`.

    Only OpenAI's can have more than one project.
    """
    rng = SystemRandom() if seed is None else dice(seed, "organisations")
    places = [(provider, number) for provider in providers for number in range(count)]
    return tuple(_organisation(rng, _name(at), *place, projects) for at, place in enumerate(places))


def batch_id(rng: Random, provider: str) -> str:
    """A batch id in the provider's form."""
    return _NAMINGS[provider].batch(rng)


def job_id(rng: Random, provider: str) -> str:
    """A job id in the provider's form."""
    return _NAMINGS[provider].job(rng)


def _name(index: int) -> str:
    return _NAMES[index] if index < len(_NAMES) else f"team-{index + 1}"


def _organisation(rng: Random, name: str, provider: str, number: int, projects: int) -> Org:
    naming = _NAMINGS[provider]
    org_id = naming.org(rng, name)
    names = ["default", *(f"project-{number}" for number in range(2, (projects if provider == "openai" else 1) + 1))]
    made = (Project(id=f"proj_{alphanumeric(rng, 24)}", name=each, key=naming.key(rng)) for each in names)
    return Org(id=org_id, name=name, projects=tuple(made), provider=provider, number=number)


def keyring(orgs: Sequence[Org]) -> dict[str, Caller]:
    """The caller of each key."""
    return {project.key: Caller(org, project) for org in orgs for project in org.projects}


def admin_keyring(orgs: Sequence[Org]) -> dict[str, Caller]:
    """The caller of each admin key."""
    return {org.admin_key: org.caller for org in orgs}
