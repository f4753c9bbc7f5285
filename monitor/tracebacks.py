"""Cuts tracebacks off errors that have been dealt with."""

from __future__ import annotations


def cut_traceback(error: BaseException | None) -> None:
    """Remove the traceback of an error, and those of the errors it came from.

    A traceback has the frames that the error passed through. If one of their variables leads back to the error, they
    are a cycle, and keep all that they have read, such as whole responses, until the next collection of garbage.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
