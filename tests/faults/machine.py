"""Faults of the machine: small disks, failing system calls, limits, restricted environments."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Path]:
    """A file system of this size; skips the test where mounting is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def resize(folder: Path, size: str) -> None:
    """Change the size of the file system."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Write a file until the disk is full. Returns its path."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 16, 1 << 12, 1):
            while True:
                try:
                    file.write(b"x" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    break
    return ballast


@asynccontextmanager
async def failing(pid: int, calls: str, how: str, log: Path) -> AsyncIterator[None]:
    """Make system calls of a process fail as described in strace's syntax, while the context lasts."""
    needs("strace")
    strace = await asyncio.create_subprocess_exec(
        "strace", "-f", "-q", "-p", str(pid), "-o", str(log), "-e", f"trace={calls}", "-e", f"inject={calls}:{how}",
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        await asyncio.sleep(0.5)
        if strace.returncode is not None:
            pytest.skip("tracing is not allowed here")
        yield
    finally:
        if strace.returncode is None:
            strace.terminate()
        await strace.wait()


def needs(*programs: str) -> None:
    """Skip the test if a program is missing."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


NOBODY = (
    "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all",
    "--no-new-privs",
)  # fmt: skip


def for_everybody() -> tuple[str, ...]:
    """The command that starts Python as uid 65534; skips the test where that is impossible."""
    needs("setpriv")
    path = ":".join([str(Path(__file__).parents[2]), sysconfig.get_path("purelib")])
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}"):
        command = ("env", "-i", f"PYTHONPATH={path}", "PATH=/usr/bin", "PYTHONDONTWRITEBYTECODE=1", python)
        trial = subprocess.run([*NOBODY, *command, "-c", "import monitor.app"], capture_output=True, check=False)
        if trial.returncode == 0:
            return command
    pytest.skip("nobody may run this Python here")


def allowed(*command: str) -> None:
    """Skip the test if this command fails."""
    needs(command[0])
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip(f"{command[0]} is not allowed here")


def stopwatch(pid: int | None = None) -> Callable[[], float]:
    """A function that returns the seconds since this call, without the time for which threads waited for a CPU.

    For this process, unless another is named. So the load of the machine breaks no promise.
    """
    pid = pid or os.getpid()
    began, waited = time.monotonic(), _waits(pid)

    def seconds() -> float:
        lost = sum(wait - waited.get(thread, 0) for thread, wait in _waits(pid).items())
        return max(time.monotonic() - began - lost / 1e9, 0.0)

    return seconds


def _waits(pid: int) -> dict[str, int]:
    """How long each thread was ready but not running, in nanoseconds; empty where the kernel does not report it."""
    found = {}
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):  # the thread has ended
            found[file.parent.name] = int(file.read_text(encoding="ascii").split()[1])
    return found
