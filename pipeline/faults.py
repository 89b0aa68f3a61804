"""What becomes of an exception that a user's code raises: a rejected frame, or a sentence in the report.

Whatever it is: ``SystemExit`` of a library that gives up, ``GeneratorExit``, a ``KeyboardInterrupt`` of the code itself, an
exception whose own text cannot be had. Only the user's Ctrl-C goes through, where Python's own handler has raised it.

>>> from pipeline.frame import Frame
>>> refusal(Frame(7), "words", SystemExit("no licence")).detail
'SystemExit: no licence'
"""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any, TypeVar, cast

from pipeline.errors import RejectFrame, UserError
from pipeline.frame import Outcome, Rejected
from pipeline.hints import hint
from pipeline.texts import one_line

F = TypeVar("F", bound=Callable[..., Any])

STAGE_FAILED = "stage_failed"
"""The reason of a frame for which a stage raised something else than RejectFrame."""

STAGE_TIMEOUT, WORKER_DIED, WORKER_MEMORY = "stage_timeout", "worker_died", "worker_memory"
"""The reasons of a frame that was given up because of what became of whoever worked on it: too slow, dead, too large."""

STAGE = "stage "
"""How the name of a function that guards a stage begins; the node's name follows."""


def describe(error: BaseException) -> str:
    """Say what was raised, and where; never raises, whatever the exception does when it is looked at."""
    try:
        last = traceback.extract_tb(error.__traceback__)[-1:]
        where = f" ({last[0].name}, line {last[0].lineno} of {last[0].filename.rpartition('/')[2]})" if last else ""
        where = hint(error) + where
    except BaseException:
        where = ""
    return f"{type(error).__name__}: {one_line(text_of(error))}{where}"


def text_of(value: object) -> str:
    """Return the value's text, or a sentence in its place where having it raises.

    >>> class Mute(Exception):
    ...     def __str__(self) -> str:
    ...         raise SystemExit
    >>> text_of(Mute()), text_of("as it is")
    ('(its text cannot be had: __str__ raises SystemExit)', 'as it is')
    """
    try:
        return "" + str(value)  # a plain str, whatever subclass __str__ returns
    except BaseException as error:
        return f"(its text cannot be had: __str__ raises {type(error).__name__})"


def refusal(outcome: Outcome, node: str, error: BaseException) -> Rejected:
    """Make of what a stage raised at this node the rejection of the frame; the user's Ctrl-C is raised on."""
    if is_users_interrupt(error):
        raise error
    if isinstance(error, RejectFrame):
        try:
            return rejected(outcome, node, text_of(error.reason), text_of(error.detail))
        except BaseException as another:  # a subclass whose reason is a property, say
            error = another
    return rejected(outcome, node, STAGE_FAILED, describe(error))


def rejected(outcome: Outcome, node: str, reason: str, detail: str) -> Rejected:
    """Reject a frame here; one that was rejected before is rejected here instead."""
    frame = outcome.frame if isinstance(outcome, Rejected) else outcome
    return Rejected(frame.serial, frame.event, frame.received_ns, node, reason, detail, frame)


def is_users_interrupt(error: BaseException) -> bool:
    """Whether this may be the user's Ctrl-C: Python's own handler raises it, in the main thread.

    Where a run handles signals itself (on the command line) a KeyboardInterrupt is the stage's own.
    """
    return (
        isinstance(error, KeyboardInterrupt)
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


def fault(what: str, error: BaseException) -> Exception:
    """Make of what was raised outside any frame (by ``close``, say) the error that stands in the report."""
    if isinstance(error, (UserError, OSError)):
        return error
    made = UserError(f"{what}: {describe(error)}")
    made.__cause__ = error
    return made


@contextmanager
def opening(node: str) -> Iterator[None]:
    """While a stage opens: what would end the program without a word (SystemExit, say) becomes an error with its name."""
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise UserError(f"{node} could not be opened: {describe(error)}") from error


def named(name: str, function: F) -> F:
    """Return the function under another name, which tracebacks and dumps of a crash then show; that costs nothing."""
    plain = cast(FunctionType, function)
    code = plain.__code__.replace(co_name=name, co_qualname=name)
    made = FunctionType(code, plain.__globals__, name, plain.__defaults__, plain.__closure__)
    return cast(F, made)
