"""A training file read in blocks of whole lines, which worker processes examine where it is large.

Memory does not grow with the file, and the workers end with their parent, however it ends.
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
    """Some whole lines, and the number of the first; None for one line that is too long to be kept."""

    first: int
    lines: bytes | None


@contextmanager
def opened(name: str) -> Iterator[tuple[BinaryIO, int | None]]:
    """The file, or standard input for `-`, and its size where it has one. Raises OSError."""
    if name == "-":
        yield sys.stdin.buffer, None
        return
    path = Path(name)
    with path.open("rb", buffering=0) as file:
        yield file, path.stat().st_size if path.is_file() else None


def blocks_of(head: bytes, file: BinaryIO, progress: Callable[[int], object]) -> Iterator[LineBlock]:
    """The blocks of a file of which the head was read already; reports how many bytes were read each time.

    Raises OSError.
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
"""Blocks examined before it is worth starting workers."""
_MOST_WORKERS: Final = 8


class WorkerLost(Exception):
    """A worker process ended before its work did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examiner:
    """How each block is examined: for this model, by these rules."""

    model: str
    rules: Rules

    def __call__(self, block: LineBlock) -> FileStats:
        """What is in a block."""
        if block.lines is None:
            return FileStats(bad=[(block.first, f"is longer than {LONGEST_LINE >> 20} MiB, and was not read")])
        return examine(lines_of(block.lines), self.model, self.rules, first=block.first)


def examined(blocks: Iterator[LineBlock], examiner: Examiner) -> Iterator[FileStats]:
    """What is in each block, in order, with as many blocks in memory as there are workers. Raises WorkerLost."""
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
        yield from _share_out(rest, pool)


def _share_out(blocks: Iterator[LineBlock], pool: Sequence[Connection]) -> Iterator[FileStats]:
    """Each worker has one block at a time, in turn, so that the answers come in the order of the blocks."""
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
        raise WorkerLost("a worker process ended before its work did") from None


@contextmanager
def _worker_pool(size: int, examiner: Examiner) -> Iterator[list[Connection]]:
    """Connections to workers. The end of its connection is what stops a worker."""
    context = get_context("spawn")
    resource_tracker.ensure_running()  # else the first start does it, and unblocks SIGINT
    connections: list[Connection] = []
    processes = []
    # Ctrl-C reaches the whole process group; workers inherit the mask that the parent has while they start.
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
    """A worker: takes a block, answers what is in it, until nobody asks any more."""
    try:
        while True:
            first, too_long = connection.recv()
            lines = connection.recv_bytes()
            connection.send(examiner(LineBlock(first=first, lines=None if too_long else lines)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
