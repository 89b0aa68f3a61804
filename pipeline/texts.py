"""Text from outside, made fit for one line: whoever sends it decides neither where a line ends nor how long it is.

Keys, event names, reasons and the texts of exceptions hold what a sender or a file has put there. They are written to
terminals, logs, reports and streams, where a line end begins a line that nobody of ours has written, an escape sequence moves
the cursor, and a mark of writing direction turns the rest of the line around. Such text passes :func:`one_line` where it
*enters* (``Rejected``, ``RejectFrame``, the event of a frame), so that nobody who prints it has to think of it.
"""

from __future__ import annotations

import re

LONGEST_TEXT = 800
"""Characters of a sentence about one frame."""

LONGEST_NAME = 200
"""Characters of a key, or of another name."""

LONGEST_WORD = 80
"""Characters of a reason, which is a word or two."""

_NOT_PLAIN = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters, line ends and the beginnings of terminal escapes among them
    "\u2028\u2029"  # line and paragraph separator
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # writing direction: https://doi.org/10.48550/arXiv.2111.00169
    "\u00ad\u200b-\u200d\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # what cannot be seen
    "\ud800-\udfff"  # bytes that were no text
    "]"
)


def escaped(text: str) -> str:
    r"""Write control characters, line ends, marks of direction and what cannot be seen as Python would.

    >>> print(escaped("run 3\n\x1b[2Jé\u202e"))
    run 3\x0a\x1b[2Jé\u202e
    """
    return text if text.isascii() and text.isprintable() else _NOT_PLAIN.sub(_as_in_python, text)


def one_line(text: str, most: int = LONGEST_TEXT) -> str:
    r"""Escape a text, and cut it in its middle to at most `most` characters (40 or more), saying how many it had.

    Doing so twice changes nothing.

    >>> print(one_line("two\nlines"))
    two\x0alines
    >>> one_line("a" * 30 + "b" * 50_000_000 + "c" * 30, most=50)
    'aaaaaaaaaaaaaaaa...[50000060 characters]...ccccccc'
    """
    if len(text) <= most:
        whole = escaped(text)
        if len(whole) <= most:
            return whole
    mark = f"...[{len(text)} characters]..."
    room = max(0, most - len(mark))
    tail = room // 3
    # only what may be kept is looked at, however much there is
    return escaped(text[:most])[: room - tail] + mark + escaped(text[-most:])[-tail:]


def _as_in_python(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
