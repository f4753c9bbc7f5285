"""How a vendor names things: tuned models, their bases and snapshots, and what "auto" epochs become.

The domain knows the form of such rules, the vendors their content (`providers/`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

USUAL_EPOCHS: Final = 3
"""Where a vendor does not say how "auto" is chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """One vendor's names. Where it has no rules, every name is one of a base model."""

    tuned: tuple[re.Pattern[str], ...] = ()
    """What names of tuned models look like as a whole; the group `base` is the base model's part of it."""
    mentioned: tuple[re.Pattern[str], ...] = ()
    """Other names in which a base model is mentioned as `base`, such as those of a bill."""
    snapshot: re.Pattern[str] | None = None
    """What names of a training's snapshots look like; the group `family` is what they share with its final model."""
    family: re.Pattern[str] | None = None
    """The same of the final model."""
    auto_epochs: Callable[[int], int] = lambda examples: USUAL_EPOCHS
    """How many epochs "auto" becomes, by the number of examples."""

    def base_model(self, model: str) -> str:
        """The base of a model's name, which is the name itself where it is none of a tuned model."""
        for pattern in (*self.tuned, *self.mentioned):
            if (found := pattern.fullmatch(model)) is not None:
                return found["base"]
        return model

    def is_tuned(self, model: str) -> bool:
        """Whether this is the name of a tuned model."""
        return any(pattern.fullmatch(model) for pattern in self.tuned)

    def family_of(self, model: str) -> str | None:
        """What a final model and the snapshots of its training have in common; None where there are no snapshots."""
        found = (self.snapshot and self.snapshot.fullmatch(model)) or (self.family and self.family.fullmatch(model))
        return found["family"] if found else None

    def is_snapshot(self, model: str) -> bool:
        """Whether this is a state of a training before its end."""
        return self.snapshot is not None and self.snapshot.fullmatch(model) is not None


UNNAMED: Final = Naming()
"""No rules at all."""
