"""Finds out how much a training file holds: counted in its content where that may be read, else by its length."""

from __future__ import annotations

from typing import Final

import anyio
import anyio.from_thread
import anyio.to_thread

from monitor.dataset import Measure, guess, measure
from monitor.domain.model import TrainingSize
from monitor.providers.base import SourceError
from monitor.source.observing import Source
from monitor.source.transport import room

LONGEST: Final = 5.0
"""Seconds of counting: the next poll and the program's end wait for it."""


async def training_size(source: Source, file_id: str, model: str, *, longest: float = LONGEST) -> TrainingSize:
    """How much there is to train in one epoch, by at most two requests and so many seconds of counting.

    A content that is too large, refused, no training file or too slow to count leaves a guess by the file's length.
    Raises SourceError where not even that is told.
    """
    dialect = source.dialect
    length = await source.ask(dialect.get_file(file_id), dialect.read_file)
    counted = await _counted(source, file_id, model, longest) if length <= source.limits.max_bytes else None
    found = counted or guess(length, model)
    return TrainingSize(tokens=found.tokens, low=found.low, high=found.high, examples=found.examples, exact=found.exact)


async def _counted(source: Source, file_id: str, model: str, longest: float) -> Measure | None:
    dialect = source.dialect
    try:
        content = await source.ask(dialect.get_content(file_id), dialect.read_content)
    except SourceError:
        return None
    async with room(source.session).files:
        # Shielded, because else a file that takes longer than there is time between two polls is begun again for ever.
        with anyio.move_on_after(longest, shield=True):
            return await anyio.to_thread.run_sync(measure, content, model, anyio.from_thread.check_cancelled)
    return None
