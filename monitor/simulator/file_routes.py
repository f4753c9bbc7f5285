"""`/v1/files`: uploads are streamed to disk and checked there, whatever their size."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import close
from pathlib import Path
from tempfile import mkstemp

import anyio
from aiohttp import BodyPartReader, web

from monitor.simulator import errors
from monitor.simulator.door import Door
from monitor.simulator.files import (
    MOST_BYTES,
    StoredFile,
    check_purpose,
    expiry,
    file_json,
    made,
    too_large,
)
from monitor.simulator.orgs import Caller
from monitor.simulator.paging import page, read_cut
from monitor.simulator.simulation import Simulation
from monitor.simulator.training import Dataset, examine

UPLOADS = web.AppKey("uploads", Path)
"""The directory that uploads are kept in, for as long as the server runs."""
_LONGEST_FIELD = 1024
_CHUNK = 1 << 18


@dataclass
class _Form:
    """What a multipart body has brought so far."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    path: Path | None = None
    size: int = 0


@dataclass(frozen=True)
class FileRoutes:
    """The files API over a simulation."""

    simulation: Simulation

    def routes(self, door: Door) -> list[web.AbstractRouteDef]:
        """Every route, guarded."""
        return [
            web.get("/v1/files", door.guard(self.list_files)),
            web.post("/v1/files", door.guard(self.upload)),
            web.get("/v1/files/{file}", door.guard(self.retrieve)),
            web.delete("/v1/files/{file}", door.guard(self.delete)),
            web.get("/v1/files/{file}/content", door.guard(self.content)),
        ]

    async def list_files(self, request: web.Request, caller: Caller) -> web.Response:
        purpose = request.query.get("purpose")
        files = [file for file in self.simulation.files(caller) if purpose in (None, file.purpose)]
        if request.query.get("order") == "asc":
            files.reverse()
        shown, more = page(files, read_cut(request.query, default=10_000), name=lambda file: file.id)
        ends = {"first_id": shown[0].id if shown else None, "last_id": shown[-1].id if shown else None}
        return web.json_response(
            {"object": "list", "data": [file_json(each) for each in shown], **ends, "has_more": more}
        )

    async def upload(self, request: web.Request, caller: Caller) -> web.Response:
        if not request.content_type.startswith("multipart/"):
            raise errors.bad(None, "Expected a multipart/form-data request body.", "invalid_content_type")
        form = _Form()
        try:
            await _receive(request, form)
            stored = self.simulation.add_file(caller, await self._checked(form, caller))
        except BaseException:  # whatever stops an upload, half a file must not stay behind
            if form.path is not None:
                form.path.unlink(missing_ok=True)
            raise
        return web.json_response(file_json(stored))

    async def retrieve(self, request: web.Request, caller: Caller) -> web.Response:
        return web.json_response(file_json(self.simulation.file(caller, request.match_info["file"])))

    async def delete(self, request: web.Request, caller: Caller) -> web.Response:
        file = self.simulation.delete_file(caller, request.match_info["file"])
        if isinstance(file.body, Path):
            await anyio.Path(file.body).unlink(missing_ok=True)
        return web.json_response({"object": "file", "id": file.id, "deleted": True})

    async def content(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        file = self.simulation.file(caller, request.match_info["file"])
        headers = {
            "Content-Disposition": f'attachment; filename="{file.filename}"',
            "Content-Type": "application/octet-stream",
        }
        if isinstance(file.body, Path):
            return web.FileResponse(file.body, headers=headers)
        return web.Response(body=made(file), headers=headers)

    async def _checked(self, form: _Form, caller: Caller) -> StoredFile:
        purpose = check_purpose(form.fields.get("purpose"))
        if form.path is None:
            raise errors.missing("file")
        expires = (form.fields.get("expires_after[anchor]"), form.fields.get("expires_after[seconds]"))
        return StoredFile(
            id="",
            filename=form.filename or "upload",
            purpose=purpose,
            created_at=0.0,
            project_id=caller.project.id,
            body=form.path,
            size=form.size,
            dataset=await anyio.to_thread.run_sync(_examined, form.path) if purpose == "fine-tune" else None,
            expires_at=expiry(*expires, self.simulation.now()),
        )


def _examined(path: Path) -> Dataset:
    with path.open("rb") as lines:
        return examine(lines)


async def _receive(request: web.Request, form: _Form) -> None:
    """Read the parts into `form`; raises ApiError 413 for more than the API takes."""
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
            if form.size > MOST_BYTES:
                raise too_large()
            await file.write(chunk)
