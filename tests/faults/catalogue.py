"""The catalogue: every promise and fault by its code, and README.md, which names the tests that would show each false.

`python -m tests.faults.catalogue` writes README.md from the marks `fault` of all tests.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
README: Final = Path(__file__).with_name("README.md")
INTRODUCTION: Final = """\
# What would refute each promise

<!-- written by `python -m tests.faults.catalogue` from the marks `fault` of the tests -->

Promises (G), faults by their codes, and promises that were once found broken (P), with the tests that would show them
false. `make test` runs the quick ones; `make faults` runs those marked `slow`, and 200 kills with their figures. Tests
that need root, `strace`, a C compiler or a mount skip with a reason where those are missing.
"""

CATALOGUE: Final[Mapping[str, Mapping[str, str]]] = {
    "Promises": {
        "G1": "every transition that is seen leads to a delivery, whatever kills the process",
        "G2": "state and outbox are one transaction",
        "G3": "a repeat has the same id and body",
        "G4": "at most one copy more for a lost answer or a crash",
        "G5": "a restart, an upgrade, a reload and a new name announce nothing",
        "G6": "first sight announces nothing that was over, and misses no end",
        "G7": "what ended while it was down is announced, once",
        "G8": "one end that is seen twice at once is one announcement",
        "G9": "announcements of a job keep their order; final is final",
        "G10": "a poison message is dead-lettered alone",
        "G11": "a target that refuses us is suspended, and its deliveries wait",
        "G12": "a sick organisation or target holds up no other",
        "G13": "every answer is bounded in time, size and memory",
        "G14": "what is no page changes nothing; one bad item hides no other",
        "G15": "waits that are asked for are kept; else backoff with jitter",
        "G16": "Slack's pace and limits are kept",
        "G17": "outbox, caches, logs and metrics are bounded",
        "G18": "a clock that jumps makes no storm and no silence",
        "G19": "nothing is announced or acknowledged that is not stored; it recovers by itself",
        "G20": "the event loop is never held; liveness answers within a second",
        "G21": "it ends in order within 10 s of SIGTERM",
        "G22": "a task that dies is noticed",
        "G23": "a reload is all or nothing",
        "G24": "mistakes in the configuration are told at the start, without values",
        "G25": "replicas on PostgreSQL lose nothing",
        "G26": "no secret is in logs, pages, metrics, API or notifications",
        "G27": "a key goes to its own organisation's address only",
        "G28": "the provider is only read",
        "G29": "what is received is authentic, fresh, stored and has one effect",
        "G30": "a webhook is a hint: what is announced was read back",
        "G31": "notifications go to no forbidden address, and in clear to private ones only",
        "G32": "texts from outside are inert everywhere",
        "G33": "labels are closed sets and series are bounded",
        "G34": "pages are safe in a browser and behind their password",
        "G35": "the supply chain is pinned, the image minimal",
    },
    "Promises that were once broken": {
        "P1": "absurd figures add up past 64 bits",
        "P2": "ten thousand ends at once in little memory",
        "P3": "a job that was gone for a while",
        "P4": "old news after another key, or an empty first list",
        "P5": "secrets of others in what the provider says",
        "P6": "budgets whose amount, period or organisation's name changes",
        "P7": "a database whose log is gone, or that is older than it was",
        "P8": "ids after a restored backup",
        "P9": "jobs that are called like other news",
        "P10": "one admin key for several organisations; one account under two spellings",
        "P11": "a web configuration that is emptied or cut",
        "P12": "TLS connections that never shake hands",
        "P13": "ten thousand log lines at once",
        "P14": "an end behind 300 event streams that hang",
        "P15": "running jobs behind the lookback",
        "P16": "plain http to public addresses from a file",
        "P17": "a start that is repeated by flapping",
        "P18": "two processes on one file by two names",
        "P19": "news behind a replay",
        "P20": "a piece of a secret that became a key",
        "P21": "news told again under a new name",
        "P22": "a wait that is asked for is that of all who use the key",
        "P23": "Slack's 5xx may have posted",
        "P24": "what waits for a renamed notifier",
        "P25": "words of the configuration are no secrets",
    },
    "Upstream API": {
        "U01": "500 on every call",
        "U02": "500, 502 and 503 mixed with good answers",
        "U03": "429 with Retry-After in seconds",
        "U04": "429 with an HTTP date, and a clock that is wrong",
        "U05": "429 with none, garbage, negative, two headers",
        "U06": "429 with a wait of years",
        "U07": "429 `insufficient_quota`",
        "U08": "a key that is revoked and restored",
        "U09": "403 for one project",
        "U10": "an error that repeats the whole key",
        "U11": "404 on the list",
        "U12": "HTML with 200",
        "U13": "empty answers and other JSON",
        "U14": "truncated JSON",
        "U15": "NaN, duplicate keys, BOM, bad UTF-8, huge integers, deep nesting",
        "U16": "a wrong content type",
        "U17": "items that are none",
        "U18": "unknown statuses",
        "U19": "errors on healthy jobs, errors of a megabyte",
        "U20": "a final status that flaps",
        "U21": "a job that ends between list and events",
        "U22": "a job that vanishes and comes back",
        "U23": "times that are absent, in milliseconds, negative",
        "U24": "one id in two organisations",
        "U25": "bombs: gzip, 512 MB, chunks of a byte, empty members",
        "U26": "endless headers and 1xx",
        "U27": "redirects",
        "U28": "cookies",
        "U29": "answers that nobody asked for",
        "U30": "10,000 old jobs; 200 organisations",
    },
    "Network": {
        "N01": "connection refused, reset",
        "N02": "a black hole",
        "N03": "headers and bodies that drip",
        "N04": "a stall in a body; connections that died idle",
        "N05": "a slow line",
        "N06": "connections that are cut at random",
        "N07": "names that fail, hang and move",
        "N08": "no file descriptors",
        "N09": "proxies and keys in the environment",
        "N10": "certificates that are not good",
    },
    "Pagination and cursors": {
        "C01": "a cursor that repeats itself",
        "C02": "`has_more` on an empty page",
        "C03": "a cursor that is unknown now",
        "C04": "pages that overlap",
        "C05": "pages in another order",
        "C06": "an item twice on a page",
        "C07": "pages that shift while they are read",
        "C08": "events in another order",
        "C09": "500 new events, and a kill on page three",
        "C10": "an error on a later page",
    },
    "Time": {
        "T01": "a clock that jumps a day, either way",
        "T02": "a clock that is ten minutes wrong",
        "T03": "a start in another age",
        "T04": "a process that is stopped for a minute",
        "T05": "time zones",
    },
    "Storage": {
        "S01": "a full disk",
        "S02": "EIO and ENOSPC",
        "S03": "a database that another process locks",
        "S04": "a file system that is read-only",
        "S05": "a database that is deleted, cut or replaced",
        "S06": "a corrupted page",
        "S07": "an older and a newer schema",
        "S08": "two processes on one file",
        "S09": "a log that grows under a long reader",
        "S10": "yesterday's backup",
        "S11": "a limit on file sizes",
        "S12": "PostgreSQL: cut connections, failover, conflicts",
    },
    "Notifiers": {
        "D01": "5xx for an hour",
        "D02": "accepted, and the answer lost",
        "D03": "429 with every kind of wait",
        "D04": "410",
        "D05": "redirects",
        "D06": "other 4xx",
        "D07": "a target that hangs or is slow",
        "D08": "huge and compressed answers",
        "D09": "every error of Slack",
        "D10": "Slack answers with a page, or nothing",
        "D11": "500 at once to one channel",
        "D12": "a message that is too large",
        "D13": "mentions, links, dates and bidirectional text in every field",
        "D14": "a message that is to be edited is gone",
        "D15": "a poison message first in the queue",
        "D16": "a message that no channel can show",
        "D17": "targets inside, in every spelling",
        "D18": "a signing secret that is rotated",
        "D19": "a dead target with 10,000 deliveries",
        "D20": "what is signed is what is sent",
    },
    "Webhook receiver": {
        "W01": "forged, altered, stale and odd signatures",
        "W02": "copies: at once, later, after a restart",
        "W03": "bodies that are huge, endless or compressed",
        "W04": "bodies that never end",
        "W05": "malformed requests",
        "W06": "events of unknown jobs and types, odd ids",
        "W07": "an event before its end can be read back",
        "W08": "a store that fails while it is received",
        "W09": "the secret of another organisation",
        "W10": "a flood of forgeries",
        "W11": "secrets that protect nothing",
    },
    "Configuration": {
        "F01": "invalid files at the start and at a reload",
        "F02": "half-written files and swapped links",
        "F03": "secret files that are missing, empty, open to others",
        "F04": "100 reloads under load",
        "F05": "organisations and notifiers that come, go and are renamed",
        "F06": "duplicates, bombs of aliases, tags",
        "F07": "a variable that is not set",
    },
    "Page, API, metrics": {
        "H01": "nasty names on every page",
        "H02": "nasty questions",
        "H03": "exports",
        "H04": "a scrape of 10,000 hostile jobs",
        "H05": "paths that leave their place",
        "H06": "500 readers, some slow",
        "H07": "other sites: rebound names, frames, posts",
        "H08": "changes without a password",
    },
    "Process": {
        "X01": "200 kills at random",
        "X02": "a kill at the n-th system call",
        "X03": "SIGTERM at every moment, twice",
        "X04": "a limit of memory",
        "X05": "read-only, nobody, no home, no terminal",
        "X06": "as process 1",
        "X07": "output that is blocked, closed, full",
        "X08": "a port that cannot be had",
        "X09": "a day of mixed faults",
        "X10": "a task that raises",
    },
    "Replicas": {
        "M01": "two replicas, one transition",
        "M02": "a replica is killed amid a delivery",
        "M03": "a replica is stopped for a minute",
        "M04": "a replica that lost the database",
        "M05": "clocks that differ",
        "M06": "a rolling upgrade",
        "M07": "LISTEN that is not heard",
        "M08": "one webhook at both replicas",
        "M09": "Slack's pace over all replicas",
    },
}
BESIDE: Final[Mapping[str, str]] = {
    "D14": "no message is edited yet",
    "G20": "every test with `tests/faults/daemon.py` asks `/-/healthy` all the while",
    "G21": "X03, X06",
    "G27": "`tests/faults/daemon.py`: whoever gets another's key fails the test",
    "G28": "`tests/faults/daemon.py`: a request that is no GET fails the test",
    "G35": "`make check`, `make image-check`",
    "H03": "there is no CSV and no feed",
    "X01": "`python -m tests.faults.kill_campaign 200`, a part of `make faults`",
    "X05": "`make image-check`",
    "X09": "`make soak MINUTES=30`; a day needs a machine of its own",
}
"""What else would show it false, or why nothing would."""


def marked() -> Mapping[str, tuple[str, ...]]:
    """The tests of each code, as `file` or `file::test`, in their order."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.fault(" in text:
            for name, code in _marks(ast.parse(text)):
                found[code].append(path.relative_to(ROOT).as_posix() + (f"::{name}" if name else ""))
    return {code: tuple(tests) for code, tests in found.items()}


def _marks(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Which test has which code; no name where it is that of the whole file."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from ((node.name, code) for one in node.decorator_list for code in _codes(one))
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            yield from (("", code) for code in _codes(node.value))


def _codes(expression: ast.expr) -> Iterator[str]:
    for node in ast.walk(expression):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
            yield from (ast.literal_eval(argument) for argument in node.args)


def readme() -> str:
    """README.md, as the marks want it."""
    tests, parts = marked(), [INTRODUCTION]
    for group, codes in CATALOGUE.items():
        rows = (_row(code, text, tests.get(code, ())) for code, text in codes.items())
        parts.append("\n".join([f"## {group}\n", "| code | what | shown false by |", "|---|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _row(code: str, text: str, tests: tuple[str, ...]) -> str:
    """Tests of one file are told after its name."""
    names: dict[str, list[str]] = defaultdict(list)
    for path, _, name in (test.partition("::") for test in tests):
        names[path] += [name] * bool(name)
    told = [path + "".join(f" ::{name}" for name in each) for path, each in names.items()]
    return f"| {code} | {text} | {'; '.join([*told, *filter(None, [BESIDE.get(code)])]) or '–'} |"


if __name__ == "__main__":
    README.write_text(readme(), encoding="utf-8")
