"""Reads a training file in blocks of whole lines, which worker processes examine if the file is large.

Memory use does not grow with the file, and the workers end with their parent process however it ends.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, cycle, islice
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO, Final

from monitor.dataset import FileStats, Rules, examine, lines_of

CHUNK: Final = 1 << 18
LONGEST_LINE: Final = 32 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LineBlock:
    """Whole lines, and the number of the first one; `lines` is None for a single line that is too long."""

    first: int
    lines: bytes | None


@contextmanager
def opened(name: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """The file, or standard input for `-`, and its size if it has one. Raises OSError."""
    if name == "-":
        yield sys.stdin.buffer, None
        return
    path = Path(name)
    with path.open("rb", buffering=0) as file:
        yield file, path.stat().st_size if path.is_file() else None


def blocks_of(head: bytes, file: BinaryIO, progress: Callable[[int], object]) -> Iterator[LineBlock]:
    """The blocks of a file whose head was read already.

    `progress` is called with the size of each read. Raises OSError.
    """
    number, rest, skipping = 1, bytearray(), False
    for read in chain((head,), iter(lambda: file.read(CHUNK), b"")):
        progress(len(read))
        chunk = read
        if skipping:
            _, end, chunk = chunk.partition(b"\n")
            if not end:
                continue
            skipping, number = False, number + 1
        cut = chunk.rfind(b"\n") + 1
        if cut:
            lines = bytes(rest) + chunk[:cut]
            yield LineBlock(first=number, lines=lines)
            number += lines.count(b"\n")
            rest.clear()
        rest += chunk[cut:]
        if len(rest) > LONGEST_LINE:
            yield LineBlock(first=number, lines=None)
            rest, skipping = bytearray(), True
    if rest:
        yield LineBlock(first=number, lines=bytes(rest))


_BEFORE_WORKERS: Final = 32
"""The number of blocks after which it is worth starting workers."""
_MOST_WORKERS: Final = 8


class WorkerLost(Exception):
    """A worker process ended unexpectedly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examiner:
    """Examines blocks for a model by the given rules. Picklable, so that it can be sent to workers."""

    model: str
    rules: Rules

    def __call__(self, block: LineBlock) -> FileStats:
        """Examine one block."""
        if block.lines is None:
            return FileStats(bad=[(block.first, f"is longer than {LONGEST_LINE >> 20} MiB, and was skipped")])
        return examine(lines_of(block.lines), self.model, self.rules, first=block.first)


def examined(blocks: Iterator[LineBlock], examiner: Examiner) -> Iterator[FileStats]:
    """Examine blocks in order, with at most one block per worker in memory. Raises WorkerLost."""
    yield from map(examiner, islice(blocks, _BEFORE_WORKERS))
    following = next(blocks, None)
    if following is None:
        return
    rest = chain((following,), blocks)
    workers = min(_cores(), _MOST_WORKERS)
    if workers < 2:
        yield from map(examiner, rest)
        return
    with _worker_pool(workers, examiner) as pool:
        yield from _distribute(rest, pool)


def _distribute(blocks: Iterator[LineBlock], pool: Sequence[Connection]) -> Iterator[FileStats]:
    """Give each worker one block at a time, in turn, so that results come in the order of the blocks."""
    turn, busy = cycle(pool), deque[Connection]()
    try:
        for block in blocks:
            worker = next(turn)
            if len(busy) == len(pool):
                yield busy.popleft().recv()
            worker.send((block.first, block.lines is None))
            worker.send_bytes(block.lines or b"")
            busy.append(worker)
        while busy:
            yield busy.popleft().recv()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise WorkerLost("a worker process ended unexpectedly") from None


@contextmanager
def _worker_pool(size: int, examiner: Examiner) -> Iterator[list[Connection]]:
    """Start workers and yield their connections. A worker ends when its connection is closed."""
    context = get_context("spawn")
    resource_tracker.ensure_running()  # otherwise the first start() runs it, and unblocks SIGINT
    connections: list[Connection] = []
    processes = []
    # Ctrl-C is sent to the whole process group. Workers inherit the signal mask that the parent has while they start.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for _ in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, examiner), daemon=True)
            process.start()
            theirs.close()
            connections.append(ours)
            processes.append(process)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        yield connections
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        for connection in connections:
            connection.close()
        for process in processes:
            process.terminate()
            process.join()


def work(connection: Connection, examiner: Examiner) -> None:
    """The main function of a worker: examine blocks until the connection is closed."""
    try:
        while True:
            first, too_long = connection.recv()
            lines = connection.recv_bytes()
            connection.send(examiner(LineBlock(first=first, lines=None if too_long else lines)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _cores() -> int:
    """The number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
