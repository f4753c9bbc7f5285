"""Readers who come in crowds, or begin a request and never end it, leave the program its descriptors and get no say."""

from __future__ import annotations

import asyncio
import resource
from dataclasses import dataclass
from pathlib import Path

import pytest

from monitor.web import server
from monitor.web.crowd import Crowd, room
from tests.web.site import Site, site


@dataclass(eq=False)
class Guest:
    """A connection."""

    idle: bool = True
    closed: bool = False

    def force_close(self) -> None:
        self.closed = True


def test_the_oldest_idle_one_makes_room_and_else_the_oldest() -> None:
    crowd = Crowd(3)
    busy, idle, newer = Guest(idle=False), Guest(), Guest()
    for one in (busy, idle, newer):
        crowd.enter(one)
    crowd.enter(Guest(idle=False))
    assert [one.closed for one in (busy, idle, newer)] == [False, True, False]
    newer.idle = False
    crowd.enter(Guest())
    assert [one.closed for one in (busy, newer)] == [True, False]


def test_who_has_left_takes_no_room() -> None:
    crowd, here, gone = Crowd(2), Guest(), Guest()
    crowd.enter(here)
    crowd.enter(gone)
    crowd.leave(gone)
    crowd.leave(gone)
    crowd.enter(Guest())
    assert not here.closed


@pytest.mark.parametrize(("limit", "expected"), [(64, 10), (1024, 250), (1_000_000, 2000), (16, 8), (-1, 2000)])
def test_readers_get_a_quarter_of_the_descriptors(limit: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (limit, limit))
    assert room() == expected


async def begun(site: Site) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request that is not complete."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
    await writer.drain()
    return reader, writer


async def test_half_requests_fill_the_house_and_others_are_answered_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "room", lambda: 8)
    async with site(tmp_path) as shown:
        slow = [await begun(shown) for _ in range(40)]
        assert (await shown.get("/-/healthy")).status == 200
        await asyncio.sleep(0.1)
        assert sum(not reader.at_eof() for reader, _ in slow) <= 8
        for _, writer in slow:
            writer.close()


async def test_a_first_request_has_its_time_and_a_kept_connection_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_FIRST_REQUEST", 0.2)
    async with site(tmp_path) as shown:
        half, writer = await begun(shown)
        kept, asking = await asyncio.open_connection("127.0.0.1", shown.port)
        asking.write(b"GET /-/healthy HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert await asyncio.wait_for(half.read(), 5) == b""
        assert (await kept.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(0.3)
        asking.write(b"GET /-/healthy HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert (await asyncio.wait_for(kept.readuntil(b"ok\n"), 5)).startswith(b"HTTP/1.1 200")
        for each in (writer, asking):
            each.close()
