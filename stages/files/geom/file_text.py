"""The text of a geometry file, or why a file cannot be one."""

from __future__ import annotations

from pathlib import Path

from pipeline import UserError

MAX_BYTES = 64 << 20
"""No geometry file is larger; whoever gives a data file by mistake need not wait until it is read."""


def read_text(path: Path | str) -> str:
    """Read a file, as UTF-8 or else as Latin-1; raises UserError if there is none or it holds no text."""
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: this is not a geometry file: it has more than {MAX_BYTES >> 20} MiB")
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"geometry file {str(path)!r} does not exist (working directory: {Path.cwd()})") from None
    except OSError as error:
        raise UserError(f"geometry file {str(path)!r} cannot be read: {error.strerror or error}") from None
    if b"\0" in content:
        raise UserError(
            f"{path}: this is not a geometry file but binary data; a geometry file is text, as a rule named *.geom"
        )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
