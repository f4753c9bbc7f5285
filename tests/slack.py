"""A Slack for tests: what a bot needs of its Web API to post, edit and upload; strict, and faulty on request.

https://docs.slack.dev/reference/methods/chat.postMessage, …/chat.update, …/files.getUploadURLExternal,
…/files.completeUploadExternal
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import Any, Final

from aiohttp import web
from aiohttp.test_utils import TestServer
from slack_sdk.models.blocks import Block

TOKEN: Final = "xoxb-1-abcdefghijkl"
_BOTH: Final = frozenset({"channel", "text", "blocks", "attachments", "parse", "link_names"})
_POST: Final = _BOTH | {"mrkdwn", "unfurl_links", "unfurl_media", "thread_ts", "reply_broadcast"}
_UPDATE: Final = _BOTH | {"ts"}


@dataclass(kw_only=True)
class Post:
    """A message as people see it."""

    channel: str
    ts: str
    at: float
    content: dict[str, Any]
    thread: str | None = None
    broadcast: bool = False
    edits: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What its first block says, or its text where it has none."""
        blocks = self.content.get("blocks") or []
        return str(blocks[0]["text"]["text"] if blocks else self.content["text"])

    @property
    def text(self) -> str:
        """All of it, as one text."""
        return json.dumps(self.content, ensure_ascii=False)


@dataclass(kw_only=True)
class Call:
    """One request that was understood, and what was answered."""

    method: str
    at: float
    content: dict[str, Any]
    error: str | None = None


Fault = Callable[[str, dict[str, Any]], str | web.StreamResponse | None]
"""By method and content: the word of an error, a whole answer, or None where Slack works."""


@dataclass(kw_only=True)
class Workspace:
    """The channels of a workspace, by id, and what was posted to them."""

    channels: dict[str, str] = field(default_factory=lambda: {"C0MAIN": "#fine-tuning"})
    now: Callable[[], float] = time.monotonic
    fault: Fault = lambda method, content: None
    lost: Fault = lambda method, content: None
    """The same, but it did what it was asked before it answered so."""
    archived: set[str] = field(default_factory=set)
    uneditable: set[str] = field(default_factory=set)
    """By `ts`: messages of which the edit window has closed."""
    posts: list[Post] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    """What was uploaded, by the file's id."""
    shared: list[dict[str, Any]] = field(default_factory=list)
    """The completed uploads."""
    url: str = ""
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def cards(self) -> list[Post]:
        """The messages that are in no thread."""
        return [post for post in self.posts if post.thread is None]

    def thread(self, of: Post) -> list[Post]:
        """The replies to a message."""
        return [post for post in self.posts if (post.channel, post.thread) == (of.channel, of.ts)]

    def delete(self, post: Post) -> None:
        """Somebody deletes a message."""
        self.posts.remove(post)

    def gaps(self, channel: str) -> list[float]:
        """Seconds between the posts to a channel."""
        return [later - earlier for earlier, later in pairwise(p.at for p in self.posts if p.channel == channel)]

    def edit_gaps(self) -> list[float]:
        """Seconds between two edits of the same message."""
        return [after[0] - before[0] for post in self.posts for before, after in pairwise(post.edits)]

    def errors(self) -> list[str]:
        """What was refused, as `METHOD ERROR`."""
        return [f"{call.method} {call.error}" for call in self.calls if call.error is not None]

    def find(self, channel: object, ts: object) -> Post | None:
        """The message of this id."""
        return next((post for post in self.posts if (post.channel, post.ts) == (channel, ts)), None)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One call of the Web API."""
        method = request.match_info["method"]
        content = await _content(request)
        if (said := self.fault(method, content)) is not None:
            return said if isinstance(said, web.StreamResponse) else self._refused(method, content, said)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._refused(method, content, "invalid_auth")
        found = _METHODS.get(method, _unknown)(self, content)
        if isinstance(found, str):
            return self._refused(method, content, found)
        self.calls.append(Call(method=method, at=self.now(), content=content))
        if (said := self.lost(method, content)) is not None:
            return said if isinstance(said, web.StreamResponse) else _json({"ok": False, "error": said})
        return _json({"ok": True, **found})

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """The bytes of a file."""
        file = request.match_info["file"]
        if file not in self.files:
            return web.Response(status=404)
        self.files[file] = await request.read()
        return web.Response(text=f"OK - {len(self.files[file])}")

    def _refused(self, method: str, content: dict[str, Any], error: str) -> web.Response:
        self.calls.append(Call(method=method, at=self.now(), content=content, error=error))
        return _json({"ok": False, "error": error})

    def channel(self, named: object) -> str | None:
        """The id of the channel with this id or name."""
        return next((id_ for id_, name in self.channels.items() if named in (id_, name, name.lstrip("#"))), None)

    def post_message(self, content: dict[str, Any]) -> dict[str, Any] | str:
        channel = self.channel(content.get("channel"))
        if channel is None:
            return "channel_not_found"
        if channel in self.archived:
            return "is_archived"
        if (flaw := _flaw(content, _POST)) is not None:
            return flaw
        thread = content.get("thread_ts")
        if thread is not None and self.find(channel, thread) is None:
            return "thread_not_found"
        ts = f"1700000000.{next(self._numbers):06}"
        broadcast = content.get("reply_broadcast", False)
        self.posts.append(
            Post(channel=channel, ts=ts, at=self.now(), content=content, thread=thread, broadcast=broadcast)
        )
        return {"channel": channel, "ts": ts, "message": {"text": content.get("text"), "ts": ts}}

    def update(self, content: dict[str, Any]) -> dict[str, Any] | str:
        channel, ts = content.get("channel"), content.get("ts")
        if channel not in self.channels:
            return "channel_not_found"  # names are taken for posting alone
        if channel in self.archived:
            return "is_archived"
        post = self.find(channel, ts)
        if post is None:
            return "message_not_found"
        if ts in self.uneditable:
            return "edit_window_closed"
        if (flaw := _flaw(content, _UPDATE)) is not None:
            return flaw
        shown = {key: content.get(key, post.content.get(key)) for key in ("text", "blocks", "attachments")}
        post.content = post.content | shown  # what is left out stays
        post.edits.append((self.now(), shown))
        return {"channel": channel, "ts": ts, "text": content.get("text")}

    def upload_url(self, content: dict[str, Any]) -> dict[str, Any] | str:
        if not content.get("filename") or not str(content.get("length", "")).isdigit():
            return "invalid_arguments"
        file = f"F{next(self._numbers)}"
        self.files[file] = b""
        return {"upload_url": f"{self.url.removesuffix('/api/')}/upload/{file}", "file_id": file}

    def complete_upload(self, content: dict[str, Any]) -> dict[str, Any] | str:
        named = content.get("files")
        if not isinstance(named, list) or any(not self.files.get(one.get("id")) for one in named):
            return "file_not_found"
        if content.get("channel_id") not in self.channels:
            return "channel_not_found"
        if self.find(content["channel_id"], content.get("thread_ts")) is None:
            return "invalid_arguments"
        self.shared.append(content)
        return {"files": named}


_METHODS: Final[dict[str, Callable[[Workspace, dict[str, Any]], dict[str, Any] | str]]] = {
    "auth.test": lambda _workspace, _content: {"user": "bot"},
    "chat.postMessage": Workspace.post_message,
    "chat.update": Workspace.update,
    "files.getUploadURLExternal": Workspace.upload_url,
    "files.completeUploadExternal": Workspace.complete_upload,
}


def _unknown(_workspace: Workspace, _content: dict[str, Any]) -> str:
    return "unknown_method"


async def _content(request: web.Request) -> dict[str, Any]:
    """The arguments: JSON, or a form for the one method that takes nothing else."""
    if request.content_type == "application/x-www-form-urlencoded":
        return dict(await request.post())
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"
    content: dict[str, Any] = await request.json()
    return content


def _flaw(content: dict[str, Any], known: frozenset[str]) -> str | None:
    """What Slack would refuse, and what it would silently do otherwise than we mean."""
    if set(content) - known:
        return "invalid_arguments"
    blocks, attachments = content.get("blocks", []), content.get("attachments", [])
    everything = [*blocks, *(block for part in attachments for block in part["blocks"])]
    if not content.get("text") and not everything:
        return "no_text"
    if len(everything) > 50:
        return "invalid_blocks"
    for block in everything:
        parsed = Block.parse(block)
        if parsed is None or parsed.to_dict() != block:
            return "invalid_blocks"
    if len(json.dumps(everything, ensure_ascii=False).encode("utf-16-le")) // 2 > 13_200:
        return "msg_blocks_too_long"
    return None


def _json(answer: dict[str, Any]) -> web.Response:
    return web.json_response(answer)


@asynccontextmanager
async def workspace(of: Workspace | None = None) -> AsyncIterator[Workspace]:
    """A workspace behind a server of its own."""
    it = of or Workspace()
    app = web.Application()
    app.router.add_post("/api/{method}", it.answer)
    app.router.add_post("/upload/{file}", it.upload)
    server = TestServer(app)
    await server.start_server(access_log=None)
    it.url = f"{server.make_url('/api/')}"
    try:
        yield it
    finally:
        await server.close()
