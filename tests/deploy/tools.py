"""Checking programs. Tests are skipped if one that pip cannot install is missing, except in CI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


def needs(tool: str) -> Callable[..., object]:
    """Mark a test that runs `tool`."""
    missing = shutil.which(tool) is None and not os.environ.get("CI")
    return pytest.mark.skipif(missing, reason=f"{tool} is not installed")


def installed(tool: str) -> Path:
    """A program of the development lock, next to this Python."""
    return Path(sys.executable).parent / tool


def run(*command: str | Path) -> None:
    """Run a checking program; its output is the failure."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
