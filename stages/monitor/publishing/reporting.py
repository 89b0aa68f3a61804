"""The report of a finished run, of what was published last."""

from __future__ import annotations

from pathlib import Path

from pipeline import UserError
from stages.monitor import plots_library
from stages.monitor.blob import encode
from stages.monitor.publishing.publishing import Last


def check_libraries(path: Path) -> None:
    """UserError if a report cannot be written for want of what draws its plots."""
    try:
        for address in plots_library.ASSETS:
            plots_library.read(address)
    except plots_library.NoLibrary as error:
        raise UserError(f"cannot write the report {path}: {error}") from None


def write_report(path: Path, last: Last | None) -> None:
    """Write the report; UserError if that is not possible."""
    from stages.monitor import report_file

    if last is None:
        raise UserError(f"the report {path} is not written, since the monitor has failed: the log says how")
    messages = {kind: bytes(encode(message)) for kind, message in last.messages.items()}
    frames = [bytes(encode(message)) for message in last.frames]
    try:
        report_file.write(path, messages, frames)
    except OSError as error:
        raise UserError(f"cannot write the report {path}: {error.strerror}") from error
