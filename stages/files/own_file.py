"""Files that the program writes beside the user's own, and never over one that it has not written itself."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline import UserError

_HEAD = 3
"""The mark stands in one of so many first lines."""


def check_own(path: Path, mark: str, what: str, instead: str, force: bool = False) -> bool:
    """Refuse a path at which somebody else's file stands, unless forced; return whether one of our own does.

    Parameters
    ----------
    mark
        One of the first three lines of a file of our own begins with it.
    what, instead
        For the message: what would be written, ``the found cell``, and what to do with the file that is there.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            head = [line.removeprefix("\ufeff") for line, _ in zip(file, range(_HEAD), strict=False)]
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UserError(f"cannot write {what} to {path}: {error.strerror}") from error
    is_own = any(line.startswith(mark) for line in head)
    if not (is_own or force):
        raise UserError(
            f"{path} is there, and streamajig has not written it: {what} is not written over it without --force; {instead}"
        )
    return is_own


def write_own(path: Path, text: str, what: str) -> None:
    """Write a file at once, its line ends as they are: a reader sees the old one or the new one, never half of one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(text.encode(errors="replace"))
        beside.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {what} {path}: {error.strerror or error}") from error
