"""Files of recorded messages: one message's body a file, compressed or not."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable
from pathlib import Path

from pipeline import UserError
from stages.wire.message import DEFAULT_MAX_MESSAGE_BYTES

SUFFIXES = (".msgpack", ".bin", ".msgpack.gz", ".bin.gz")

_PIECE_BYTES = 1 << 24


def expand(files: Iterable[Path]) -> list[Path]:
    """Return the files, with folders replaced by the recorded messages in them in the order of their names.

    Raises UserError for what is not there, or for a folder without any.
    """
    found: list[Path] = []
    for path in files:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES) and file.is_file())
            if not inside:
                raise UserError(
                    f"{path}: no recorded messages in this folder; wanted are files named *{', *'.join(SUFFIXES)}"
                )
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"{path}: no such file; wanted is a recorded message, or a folder of them")
    return found


def read_body(file: Path, max_bytes: int = DEFAULT_MAX_MESSAGE_BYTES) -> bytes:
    """Return the body of the message in a file; raises UserError if it cannot be read or has more than `max_bytes`."""
    body = bytearray()
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as opened:
            while len(body) <= max_bytes and (piece := opened.read(_PIECE_BYTES)):
                body += piece
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file}: cannot be read: {error}") from None
    if len(body) > max_bytes:
        raise UserError(f"{file}: holds more than {max_bytes} bytes, and max_message_bytes allows no more")
    return bytes(body)
