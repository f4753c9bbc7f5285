"""OpenAI's `/files`: uploads of any size are streamed to disk and checked there."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import close
from pathlib import Path
from tempfile import mkstemp
from typing import Any

import anyio
from aiohttp import BodyPartReader, web

from monitor.simulator import errors
from monitor.simulator.dataset import Dataset, examine
from monitor.simulator.dialect import ApiCall, Route, Stream
from monitor.simulator.files import StoredFile
from monitor.simulator.openai.pages import cut, named
from monitor.simulator.orgs import Caller
from monitor.simulator.simulation import Simulation

UPLOADS = web.AppKey("uploads", Path)
"""The directory of the uploads while the server runs."""
_PURPOSES = ("fine-tune", "assistants", "batch", "user_data", "vision", "evals")
_MOST_BYTES = 512 * 1024 * 1024
_LONGEST_FIELD = 1024
_CHUNK = 1 << 18


@dataclass
class _Form:
    """The parts of a multipart body that were received so far."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    path: Path | None = None
    size: int = 0


def list_files(call: ApiCall) -> dict[str, Any]:
    purpose = call.query.get("purpose")
    files = [file for file in call.simulation.files(call.caller) if purpose in (None, file.purpose)]
    if call.query.get("order") == "asc":
        files.reverse()
    shown, more = cut(files, call.query, default=10_000, name=lambda file: file.id)
    return named([file_json(each) for each in shown], more=more)


def retrieve(call: ApiCall) -> dict[str, Any]:
    return file_json(call.simulation.file(call.caller, call.params["file"]))


async def upload(request: web.Request, simulation: Simulation, caller: Caller) -> web.Response:
    if not request.content_type.startswith("multipart/"):
        raise errors.bad(None, "Expected a multipart/form-data request body.", "invalid_content_type")
    form = _Form()
    try:
        await _receive(request, form)
        stored = simulation.add_file(caller, await _checked(form, caller, simulation.now()))
    except BaseException:  # half an upload must not stay behind, whatever interrupts it
        if form.path is not None:
            form.path.unlink(missing_ok=True)
        raise
    return web.json_response(file_json(stored))


async def delete(request: web.Request, simulation: Simulation, caller: Caller) -> web.Response:
    file = simulation.delete_file(caller, request.match_info["file"])
    if isinstance(file.body, Path):
        await anyio.Path(file.body).unlink(missing_ok=True)
    return web.json_response({"object": "file", "id": file.id, "deleted": True})


async def content(request: web.Request, simulation: Simulation, caller: Caller) -> web.StreamResponse:
    file = simulation.file(caller, request.match_info["file"])
    headers = {
        "Content-Disposition": f'attachment; filename="{file.filename}"',
        "Content-Type": "application/octet-stream",
    }
    if isinstance(file.body, Path):
        return web.FileResponse(file.body, headers=headers)
    return web.Response(body=file.made(), headers=headers)


FILES = (
    Route("GET", "/files", list_files),
    Stream("POST", "/files", upload),
    Route("GET", "/files/{file}", retrieve),
    Stream("DELETE", "/files/{file}", delete),
    Stream("GET", "/files/{file}/content", content),
)


def file_json(file: StoredFile) -> dict[str, Any]:
    """A file as the API returns it."""
    return {
        "object": "file",
        "id": file.id,
        "purpose": file.purpose,
        "filename": file.filename,
        "bytes": len(file.made()) if file.size is None else file.size,
        "created_at": int(file.created_at),
        "expires_at": file.expires_at,
        "status": "processed",
        "status_details": None,
    }


async def _checked(form: _Form, caller: Caller, now: float) -> StoredFile:
    purpose = _purpose(form.fields.get("purpose"))
    if form.path is None:
        raise errors.missing("file")
    return StoredFile(
        id="",
        filename=form.filename or "upload",
        purpose=purpose,
        created_at=0.0,
        project_id=caller.project.id,
        body=form.path,
        size=form.size,
        dataset=await anyio.to_thread.run_sync(_examined, form.path) if purpose in ("fine-tune", "batch") else None,
        expires_at=_expiry(form.fields.get("expires_after[anchor]"), form.fields.get("expires_after[seconds]"), now),
    )


def _purpose(purpose: str | None) -> str:
    """The purpose of an upload. Raises ApiError 400."""
    if purpose is None:
        raise errors.missing("purpose")
    if purpose not in _PURPOSES:
        raise errors.bad("purpose", f"'{purpose}' is not one of {list(_PURPOSES)} - 'purpose'")
    return purpose


def _expiry(anchor: str | None, seconds: str | None, now: float) -> int | None:
    """When a file expires, by the form's `expires_after`. Raises ApiError 400 outside of 1 hour to 30 days."""
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise errors.bad("expires_after.anchor", "Invalid value: expected 'created_at'.", "invalid_value")
    if not (seconds or "").isdecimal() or not 3600 <= int(seconds or 0) <= 2592000:
        raise errors.bad("expires_after.seconds", "Expected a number of seconds from 3600 to 2592000.", "invalid_value")
    return int(now) + int(seconds or 0)


def _examined(path: Path) -> Dataset:
    with path.open("rb") as lines:
        return examine(lines)


async def _receive(request: web.Request, form: _Form) -> None:
    """Read the parts into `form`. Raises ApiError 413 above the API's limit."""
    reader = await request.multipart()
    while (part := await reader.next()) is not None:
        if not isinstance(part, BodyPartReader):
            raise errors.bad(None, "Nested multipart bodies are not supported.")
        if part.name == "file" and part.filename is not None:
            await _keep(part, form, request.app[UPLOADS])
        elif part.name:
            form.fields[part.name] = (await part.read_chunk(_LONGEST_FIELD)).decode(errors="replace").strip()


async def _keep(part: BodyPartReader, form: _Form, directory: Path) -> None:
    handle, name = mkstemp(dir=directory)
    close(handle)
    form.path, form.filename = Path(name), part.filename
    async with await anyio.open_file(name, "wb") as file:
        while chunk := await part.read_chunk(_CHUNK):
            form.size += len(chunk)
            if form.size > _MOST_BYTES:
                message = f"Maximum content size limit ({_MOST_BYTES}) exceeded"
                raise errors.ApiError(413, message)
            await file.write(chunk)
