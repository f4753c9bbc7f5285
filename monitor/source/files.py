"""Finds out how much a training file holds: counted in its content where that may be read, else by its length."""

from __future__ import annotations

from typing import Final

import anyio
import anyio.from_thread
import anyio.to_thread

from monitor.dataset import Measure, guess, measure
from monitor.domain.model import TrainingSize
from monitor.providers.base import Call, NotFound, SourceError
from monitor.source.client import Client
from monitor.source.jobs import Source

LONGEST: Final = 5.0
"""Seconds of counting: the next poll and the program's end wait for it."""


async def training_size(source: Source, file_id: str, model: str, *, longest: float = LONGEST) -> TrainingSize:
    """How much there is to train in one epoch, by at most two requests and so many seconds of counting.

    A content that is too large, refused, no training file or too slow to count leaves a guess by the file's length.
    Raises SourceError where not even that is known.
    """
    files, client = source.provider.files, source.client
    if files is None:
        raise NotFound("this vendor has no API for training files")
    base = source.provider.naming.base_model(model)
    length = await client.call(files.length(file_id))
    content = files.content(file_id) if length <= client.limits.max_bytes else None
    found = (await _counted(client, content, base, longest) if content else None) or guess(length, base)
    return TrainingSize(tokens=found.tokens, low=found.low, high=found.high, examples=found.examples, exact=found.exact)


async def _counted(client: Client, content: Call[bytes], base: str, longest: float) -> Measure | None:
    try:
        read = await client.call(content)
    except SourceError:
        return None
    async with client.transport.file_limiter:
        # Shielded, because else a file that takes longer than there is time between two polls is begun again for ever.
        with anyio.move_on_after(longest, shield=True):
            return await anyio.to_thread.run_sync(measure, read, base, anyio.from_thread.check_cancelled)
    return None
