"""The two ways in which something can be wrong: with what the user asked for, or with one frame."""

from __future__ import annotations


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
        One sentence for a person: what was found, where, and what was wanted.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[RejectFrame], tuple[str, str]]:
        return type(self), (self.reason, self.detail)
