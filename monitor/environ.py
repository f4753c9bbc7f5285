"""The one place where the program reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping


def environ() -> Mapping[str, str]:
    """A copy of the environment."""
    return dict(os.environ)  # noqa: TID251 - this is the place
