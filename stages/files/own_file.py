"""Files that the program writes beside the user's own, and never over one that it has not written itself."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline import UserError


def check_own(path: Path, mark: str, what: str) -> None:
    """Refuse a path at which somebody else's file stands.

    Parameters
    ----------
    mark
        One of the first three lines of a file of our own begins with it.
    what
        What would be written, for the message: ``the found cell``.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"cannot write {what} to {path}: {error.strerror}") from error
    if not any(line.startswith(mark) for line in text.splitlines()[:3]):
        raise UserError(
            f"{path} is there, and streamajig has not written it: {what} is not written over it; move it away, use it, or "
            "write to another place"
        )


def write_own(path: Path, text: str, what: str) -> None:
    """Write a file at once: a reader sees the old one or the new one, never half of one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8", errors="surrogatepass")
        beside.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {what} to {path}: {error.strerror or error}") from error
