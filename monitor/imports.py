"""Imports of libraries without those that they would take along though nobody here needs them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*names: str) -> Iterator[None]:
    """What is imported meanwhile finds no modules of these names, unless they are loaded already.

    `None` in `sys.modules` says that there is none: https://docs.python.org/3/reference/import.html#the-module-cache
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # the import system takes None, its types do not
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
