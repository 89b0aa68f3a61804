"""The two ways in which something can be wrong: with what the user asked for, or with one frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.texts import LONGEST_WORD, one_line


class UserError(Exception):
    """The run cannot start (or go on) because of something the user can mend.

    The text says where, what was found, what was wanted and what to do; the command line prints it without a
    traceback and exits with status 2.
    """


class RejectFrame(Exception):
    """Raised by a stage: this one frame cannot be processed; the frames after it can.

    Parameters
    ----------
    reason
        A short word or two with underscores that can be counted, e.g. ``missing_key``.
    detail
        One sentence for a person: what was found, where, and what was wanted. It may quote the message: it is escaped and cut.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = one_line(reason, LONGEST_WORD)
        self.detail = one_line(detail)
        super().__init__(f"{self.reason}: {self.detail}")

    def __reduce__(self) -> tuple[type[RejectFrame], tuple[str, str]]:
        return type(self), (self.reason, self.detail)


def in_words(problem: Mapping[str, Any]) -> str:
    """Say what pydantic found wrong with a value, in the middle of a sentence; `problem` is one of ``error.errors()``.

    >>> in_words({"msg": "Value error, radii should grow"}), in_words({"msg": "Input should be greater than 0"})
    ('radii should grow', 'input should be greater than 0')
    """
    text = str(problem["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]
