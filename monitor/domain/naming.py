"""The rules by which a vendor names fine-tuned models, base models and snapshots, and chooses "auto" epochs.

This module defines the form of the rules; `monitor/providers` has those of each vendor.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

USUAL_EPOCHS: Final = 3
"""The number of epochs assumed for "auto" if a vendor does not document how it is chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """One vendor's rules for names. Without rules, every name is that of a base model."""

    tuned: tuple[re.Pattern[str], ...] = ()
    """Patterns for whole names of fine-tuned models, with a group `base` for the base model."""
    mentioned: tuple[re.Pattern[str], ...] = ()
    """Patterns for other names that contain a base model as group `base`, such as line items of a bill."""
    snapshot: re.Pattern[str] | None = None
    """The pattern for names of training snapshots, with a group `family` for what they share with the final model."""
    family: re.Pattern[str] | None = None
    """The pattern for names of final models, with the same group `family`."""
    auto_epochs: Callable[[int], int] = lambda examples: USUAL_EPOCHS
    """The number of epochs that "auto" becomes, given the number of examples."""

    def base_model(self, model: str) -> str:
        """The base model of a fine-tuned model; any other name is returned as it is."""
        for pattern in (*self.tuned, *self.mentioned):
            if (found := pattern.fullmatch(model)) is not None:
                return found["base"]
        return model

    def is_tuned(self, model: str) -> bool:
        """Whether this is the name of a fine-tuned model."""
        return any(pattern.fullmatch(model) for pattern in self.tuned)

    def family_of(self, model: str) -> str | None:
        """What a final model and its training snapshots have in common; None if the vendor has no snapshots."""
        found = (self.snapshot and self.snapshot.fullmatch(model)) or (self.family and self.family.fullmatch(model))
        return found["family"] if found else None

    def is_snapshot(self, model: str) -> bool:
        """Whether this is the name of a training snapshot, a model from before the end of the training."""
        return self.snapshot is not None and self.snapshot.fullmatch(model) is not None


UNNAMED: Final = Naming()
"""The naming of a vendor without rules."""
