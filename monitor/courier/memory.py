"""What a courier remembers between its rounds; all of it may be lost with the process."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio


@dataclass(slots=True)
class Memory:
    """The memory of one courier."""

    odd: dict[str, int] = field(default_factory=dict)
    """Failures without a known meaning, by delivery key."""
    expire_at: float = 0.0
    store_down: bool = False
    retired: anyio.Event = field(default_factory=anyio.Event)
