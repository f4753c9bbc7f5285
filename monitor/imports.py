"""Imports libraries without optional dependencies that this program does not use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Make imports of these modules fail within the context, unless they are loaded already.

    `None` in `sys.modules` makes an import raise ModuleNotFoundError:
    https://docs.python.org/3/reference/import.html#the-module-cache
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # the import system accepts None, typeshed does not
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
