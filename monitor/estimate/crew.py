"""Worker processes that share out the counting of a large file. They end with their parent, however it ends."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from typing import Final

from monitor.dataset import Reading, Tally, examine, lines_of
from monitor.estimate.blocks import LONGEST_LINE, Block

_ALONE: Final = 32
"""So many blocks are done before workers are worth their start."""
_MOST: Final = 8


class WorkerLost(Exception):
    """A worker process ended before its work did."""


def tallies(found: Iterator[Block], reading: Reading) -> Iterator[Tally]:
    """What is in each block, in order; with as many blocks in memory as there are workers. Raises WorkerLost."""
    for block in islice(found, _ALONE):
        yield _examined(block, reading)
    following = next(found, None)
    if following is None:
        return
    workers = min(_cores(), _MOST)
    rest = _with(following, found)
    if workers < 2:
        yield from (_examined(block, reading) for block in rest)
        return
    with _crew(workers, reading) as crew:
        yield from _shared_out(rest, crew)


def _with(first: Block, rest: Iterable[Block]) -> Iterator[Block]:
    yield first
    yield from rest


def _examined(block: Block, reading: Reading) -> Tally:
    if block.lines is None:
        return Tally(bad=[(block.first, f"is longer than {LONGEST_LINE >> 20} MiB, and was not read")])
    return examine(lines_of(block.lines), reading, first=block.first)


def _shared_out(found: Iterable[Block], crew: Sequence[Connection]) -> Iterator[Tally]:
    """Each worker has one block at a time, and they take turns: the answers come in the order of the blocks."""
    turn, busy = cycle(crew), deque[Connection]()
    try:
        for block in found:
            worker = next(turn)
            if len(busy) == len(crew):
                yield busy.popleft().recv()
            worker.send((block.first, block.lines is None))
            worker.send_bytes(block.lines or b"")
            busy.append(worker)
        while busy:
            yield busy.popleft().recv()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise WorkerLost("a worker process ended before its work did") from None


@contextmanager
def _crew(size: int, reading: Reading) -> Iterator[list[Connection]]:
    """Workers by their connections. A connection's end is the only sign to stop that they need."""
    context = get_context("spawn")
    resource_tracker.ensure_running()  # else the first start does it, and unblocks SIGINT
    connections: list[Connection] = []
    processes = []
    # Ctrl-C reaches the whole process group; what the parent blocks while they start, the workers do not hear.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for _ in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, reading), daemon=True)
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


def work(connection: Connection, reading: Reading) -> None:
    """A worker's life: take a block, tell what is in it, until nobody asks any more."""
    try:
        while True:
            first, too_long = connection.recv()
            lines = connection.recv_bytes()
            connection.send(_examined(Block(first=first, lines=None if too_long else lines), reading))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
