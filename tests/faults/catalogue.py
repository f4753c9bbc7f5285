"""The catalogue of promises and faults by their codes, and README.md, which lists the tests of each.

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
# Promises, faults and their tests

<!-- written by `python -m tests.faults.catalogue` from the marks `fault` of the tests -->

Promises (G), faults (other codes) and promises that were once broken (P), with the tests that would fail if they did
not hold. `make test` runs the quick ones; `make faults` also runs those marked `slow`, and a campaign of 200 kills.
Tests that need root, `strace`, a C compiler or a mount are skipped with a reason where these are missing.
"""

CATALOGUE: Final[Mapping[str, Mapping[str, str]]] = {
    "Promises": {
        "G1": "every observed transition leads to a delivery, even if the process is killed",
        "G2": "state and outbox are committed in one transaction",
        "G3": "a retry has the same id and body",
        "G4": "a lost answer or a crash causes at most one duplicate",
        "G5": "a restart, an upgrade, a reload or a rename announces nothing",
        "G6": "the first sight of an organisation announces nothing that was over, and misses no later end",
        "G7": "what ended during a downtime is announced once",
        "G8": "an end that is seen by two readers at once is announced once",
        "G9": "announcements of a job keep their order, and a final status stays final",
        "G10": "a poison message becomes a dead letter without affecting others",
        "G11": "a target that rejects us is suspended, and its deliveries wait",
        "G12": "a failing organisation or target delays no other",
        "G13": "every response is bounded in time, size and memory",
        "G14": "an answer that is not a page changes nothing, and one bad item hides no other",
        "G15": "Retry-After is respected, and other retries use backoff with jitter",
        "G16": "Slack's rate and size limits are respected",
        "G17": "outbox, caches, logs and metrics are bounded",
        "G18": "a clock jump causes neither a flood of notifications nor silence",
        "G19": "only what is stored is announced or acknowledged, and the program recovers by itself",
        "G20": "the event loop is never blocked; liveness answers within a second",
        "G21": "SIGTERM ends the process in order within 10 s",
        "G22": "a crashed task is noticed",
        "G23": "a reload is all or nothing",
        "G24": "errors in the configuration are reported at the start, without values",
        "G25": "replicas on PostgreSQL lose nothing",
        "G26": "logs, pages, metrics, API and notifications contain no secret",
        "G27": "a key is sent only to its own organisation's address",
        "G28": "the provider's API is only read",
        "G29": "received webhooks are authentic, fresh, stored, and take effect once",
        "G30": "a webhook is a hint: what is announced was read from the API",
        "G31": "notifications go to no forbidden address, and unencrypted only to private ones",
        "G32": "text from outside is inert everywhere",
        "G33": "label values are closed sets, and series are bounded",
        "G34": "pages are safe in a browser and protected by their password",
        "G35": "dependencies are pinned, and the image is minimal",
    },
    "Promises that were once broken": {
        "P1": "absurd figures overflow 64 bits",
        "P2": "ten thousand ends at once in little memory",
        "P3": "a job that disappears for a while",
        "P4": "old jobs announced after a change of key, or after an empty first list",
        "P5": "other secrets repeated in a provider's answer",
        "P6": "a budget whose amount, period or organisation's name changes",
        "P7": "a database whose write-ahead log is missing, or that is older than it was",
        "P8": "ids after a restored backup",
        "P9": "jobs with the ids of other notices",
        "P10": "one admin key for several organisations, and one account under two spellings",
        "P11": "a web configuration that is emptied or truncated",
        "P12": "TLS connections without a handshake",
        "P13": "ten thousand log lines at once",
        "P14": "an end behind 300 event streams that hang",
        "P15": "running jobs older than the lookback",
        "P16": "plain http to public addresses from a secret file",
        "P17": "a start announced again when a status flaps",
        "P18": "two processes on one file under two names",
        "P19": "news behind a replay",
        "P20": "a part of a secret that becomes a key",
        "P21": "news announced again after a rename",
        "P22": "Retry-After applies to all organisations with the same key",
        "P23": "a Slack 5xx whose message may have been posted",
        "P24": "pending deliveries of a renamed notifier",
        "P25": "ordinary words of the configuration masked as secrets",
    },
    "Upstream API": {
        "U01": "500 on every call",
        "U02": "500, 502 and 503 mixed with good answers",
        "U03": "429 with Retry-After in seconds",
        "U04": "429 with an HTTP date and a wrong clock",
        "U05": "429 with a missing, invalid, negative or duplicate Retry-After",
        "U06": "429 with a Retry-After of years",
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
        "U17": "items that are not objects",
        "U18": "unknown statuses",
        "U19": "errors on healthy jobs, errors of a megabyte",
        "U20": "a final status that flaps",
        "U21": "a job that ends between list and events",
        "U22": "a job that disappears and comes back",
        "U23": "times that are missing, in milliseconds, negative",
        "U24": "one id in two organisations",
        "U25": "decompression bombs, 512 MB, chunks of one byte, empty gzip members",
        "U26": "endless headers and 1xx responses",
        "U27": "redirects",
        "U28": "cookies",
        "U29": "unsolicited responses",
        "U30": "10,000 old jobs; 200 organisations",
    },
    "Network": {
        "N01": "connection refused, reset",
        "N02": "a black hole",
        "N03": "headers and bodies that arrive byte by byte",
        "N04": "a body that stalls; idle connections that died",
        "N05": "a slow line",
        "N06": "connections cut at random",
        "N07": "host names that fail, hang or change their address",
        "N08": "no free file descriptors",
        "N09": "proxies and keys in the environment",
        "N10": "invalid certificates",
    },
    "Pagination and cursors": {
        "C01": "a cursor that repeats",
        "C02": "`has_more` on an empty page",
        "C03": "a cursor that is no longer known",
        "C04": "overlapping pages",
        "C05": "pages in another order",
        "C06": "an item twice on one page",
        "C07": "pages that shift while they are read",
        "C08": "events in another order",
        "C09": "500 new events, and a kill on page three",
        "C10": "an error on a later page",
    },
    "Time": {
        "T01": "a clock that jumps a day, forwards or back",
        "T02": "a clock that is ten minutes wrong",
        "T03": "a start with a clock that is years wrong",
        "T04": "a process that is stopped for a minute",
        "T05": "time zones",
    },
    "Storage": {
        "S01": "a full disk",
        "S02": "EIO and ENOSPC",
        "S03": "a database locked by another process",
        "S04": "a read-only file system",
        "S05": "a database that is deleted, truncated or replaced",
        "S06": "a corrupted page",
        "S07": "an older and a newer schema",
        "S08": "two processes on one file",
        "S09": "a write-ahead log that grows during a long read",
        "S10": "yesterday's backup",
        "S11": "a limit on file sizes",
        "S12": "PostgreSQL: broken connections, failover, conflicts",
    },
    "Notifiers": {
        "D01": "5xx for an hour",
        "D02": "accepted, but the answer is lost",
        "D03": "429 with every form of Retry-After",
        "D04": "410",
        "D05": "redirects",
        "D06": "other 4xx",
        "D07": "a target that hangs or is slow",
        "D08": "huge and compressed answers",
        "D09": "every error of Slack",
        "D10": "Slack answers with HTML, or with nothing",
        "D11": "500 messages at once to one channel",
        "D12": "a message that is too large",
        "D13": "mentions, links, dates and bidirectional text in every field",
        "D14": "a card that was deleted before its edit",
        "D15": "a poison message first in the queue",
        "D16": "a message that no channel can render",
        "D17": "internal targets, in every spelling",
        "D18": "a signing secret that is rotated",
        "D19": "a dead target with 10,000 deliveries",
        "D20": "the signature covers exactly what is sent",
    },
    "Webhook receiver": {
        "W01": "forged, altered, stale and malformed signatures",
        "W02": "duplicates: at once, later, after a restart",
        "W03": "bodies that are huge, endless or compressed",
        "W04": "bodies that never end",
        "W05": "malformed requests",
        "W06": "events of unknown jobs and types, invalid ids",
        "W07": "an event before its end can be read from the API",
        "W08": "a store that fails while a webhook is received",
        "W09": "the secret of another organisation",
        "W10": "a flood of forgeries",
        "W11": "secrets that are too short",
    },
    "Configuration": {
        "F01": "invalid files at the start and at a reload",
        "F02": "half-written files and swapped links",
        "F03": "secret files that are missing, empty or readable by others",
        "F04": "100 reloads under load",
        "F05": "organisations and notifiers that are added, removed and renamed",
        "F06": "duplicate keys, alias bombs, tags",
        "F07": "a variable that is not set",
    },
    "Page, API, metrics": {
        "H01": "hostile names on every page",
        "H02": "hostile query parameters",
        "H03": "exports",
        "H04": "a scrape of 10,000 hostile jobs",
        "H05": "path traversal",
        "H06": "500 clients, some of them slow",
        "H07": "other sites: DNS rebinding, frames, posts",
        "H08": "changes without a password",
    },
    "Process": {
        "X01": "200 kills at random",
        "X02": "a kill at the n-th system call",
        "X03": "SIGTERM at every moment, twice",
        "X04": "a memory limit",
        "X05": "a read-only file system, user nobody, no home, no terminal",
        "X06": "running as process 1",
        "X07": "standard output that is blocked, closed or full",
        "X08": "a port that is in use or not allowed",
        "X09": "a day of mixed faults",
        "X10": "a task that raises an exception",
    },
    "Replicas": {
        "M01": "two replicas, one transition",
        "M02": "a replica is killed during a delivery",
        "M03": "a replica is stopped for a minute",
        "M04": "a replica loses the database",
        "M05": "clocks that differ",
        "M06": "a rolling upgrade",
        "M07": "a missed LISTEN notification",
        "M08": "one webhook at both replicas",
        "M09": "Slack's pace over all replicas",
    },
}
ALSO: Final[Mapping[str, str]] = {
    "G20": "every test with `tests/faults/daemon.py` polls `/-/healthy` throughout",
    "G21": "X03, X06",
    "G27": "`tests/faults/daemon.py`: a server that receives another's key fails the test",
    "G28": "`tests/faults/daemon.py`: a request other than GET fails the test",
    "G35": "`make check`, `make image-check`",
    "H03": "there are no CSV exports and no feeds",
    "X01": "`python -m tests.faults.kill_campaign 200`, a part of `make faults`",
    "X05": "`make image-check`",
    "X09": "`make soak MINUTES=30`; a whole day needs a machine of its own",
}
"""What else checks a code, or why nothing does."""


def marked() -> Mapping[str, tuple[str, ...]]:
    """The tests of each code, as `file` or `file::test`, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.fault(" in text:
            for name, code in _marks(ast.parse(text)):
                found[code].append(path.relative_to(ROOT).as_posix() + (f"::{name}" if name else ""))
    return {code: tuple(tests) for code, tests in found.items()}


def _marks(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield pairs of a test's name and a code; the name is empty for a mark of the whole file."""
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
    """The content of README.md."""
    tests, parts = marked(), [INTRODUCTION]
    for group, codes in CATALOGUE.items():
        rows = (_row(code, text, tests.get(code, ())) for code, text in codes.items())
        parts.append("\n".join([f"## {group}\n", "| code | what | tests |", "|---|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _row(code: str, text: str, tests: tuple[str, ...]) -> str:
    """A row of the table; the tests of one file follow the file's name."""
    names: dict[str, list[str]] = defaultdict(list)
    for path, _, name in (test.partition("::") for test in tests):
        names[path] += [name] * bool(name)
    listed = [path + "".join(f" ::{name}" for name in each) for path, each in names.items()]
    return f"| {code} | {text} | {'; '.join([*listed, *filter(None, [ALSO.get(code)])]) or '–'} |"


if __name__ == "__main__":
    README.write_text(readme(), encoding="utf-8")
