"""The only module that reads environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping


def environ() -> Mapping[str, str]:
    """A copy of the environment variables."""
    return dict(os.environ)  # noqa: TID251 - this is the only module that may
