"""Measures a training file: counts the tokens of its content if it can be read, otherwise guesses by its length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import anyio.from_thread
import anyio.to_thread

from monitor.domain.model import TrainingSize
from monitor.providers.base import Call, NotFound, SourceError
from monitor.source.client import Client
from monitor.source.jobs import Source

if TYPE_CHECKING:
    from monitor.dataset import Measure

LONGEST: Final = 5.0
"""The longest time for counting in seconds: the next poll and the end of the program wait for it."""


async def training_size(source: Source, file_id: str, model: str, *, longest: float = LONGEST) -> TrainingSize:
    """The size of one epoch, with at most two requests and `longest` seconds of counting.

    If the content is too large, refused, invalid or too slow to count, the size is guessed from the file's length.
    Raises SourceError if the length is not known either.
    """
    files, client = source.provider.files, source.client
    if files is None:
        raise NotFound("this vendor has no API for training files")
    from monitor.dataset import guess  # noqa: PLC0415 - a start does not need it

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
    from monitor.dataset import measure  # noqa: PLC0415 - a start does not need it

    async with client.transport.file_limiter:
        # Shielded: otherwise counting a file that takes longer than the time between two polls would restart for ever.
        with anyio.move_on_after(longest, shield=True):
            return await anyio.to_thread.run_sync(measure, read, base, anyio.from_thread.check_cancelled)
    return None
