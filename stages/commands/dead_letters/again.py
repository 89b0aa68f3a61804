"""Messages of rejected frames once more: over a socket, or through a graph that may be mended now."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.running.kept_letters import Freed, Letter, clear, read_folder
from stages.commands.dead_letters import words

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph
    from pipeline.running.report import Report
    from stages.wire.serving import FrameServer

Messages = Mapping[tuple[Path, ...], Sequence[Letter]]
"""The files of each message, and its letters: more than one where several branches rejected the frame."""


def messages_of(letters: Sequence[Letter]) -> tuple[Messages, list[Letter]]:
    """Return the messages that are there, each once, in the order of their letters; and the letters that have none."""
    messages: dict[tuple[Path, ...], list[Letter]] = {}
    without = []
    for letter in letters:
        if letter.has_message:
            messages.setdefault(letter.files, []).append(letter)
        else:
            without.append(letter)
    return messages, without


def over_a_socket(messages: Messages, server: FrameServer) -> None:
    """Serve them as ``streamajig replay`` does, and close the server."""
    from stages.commands.replay import serve

    with server:
        bodies = Bodies(messages)
        serve(server, bodies, f"{len(messages)} messages of rejected frames")
        sent = max(0, server.sent - bodies.said)
        print(f"sent {sent} of {len(messages)} messages", file=sys.stderr)  # noqa: T201


class Bodies:
    """The messages, and before those that need it what their sender has said once, as a message of its own, as it did.

    Attributes
    ----------
    said
        How many of these there were so far.
    """

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self.said = 0

    def __iter__(self) -> Iterator[list[memoryview]]:
        from stages.wire.recorded import is_preamble, read_whole

        latest: list[memoryview] = []
        for files in self._messages:
            preamble = [read_whole(file) for file in files if is_preamble(file)]
            if preamble and preamble != latest:
                latest = preamble
                self.said += 1
                yield preamble
            yield [read_whole(file) for file in files if not is_preamble(file)]


def graph_of(file: Path, messages: Messages, settings: Sequence[str], force: bool) -> Graph:
    """Load a graph, and put these messages in the place of its source; UserError if it would write over what is there."""
    from pipeline import Graph, UserError
    from pipeline.composing.settings import with_settings
    from pipeline.paths import ask_before_overwriting
    from stages.source.files import Files
    from stages.source.replay import Replay

    graph = with_settings(Graph.load(file), settings)
    try:
        ask_before_overwriting(graph.files()[1], force)
    except UserError as error:
        raise UserError(f"{error}\n(--set NODE.PARAMETER=FILE names another file)") from None
    if isinstance(graph.source.stage, Files):
        return graph.replace(graph.source.name, replace(graph.source.stage, images=_lines(messages), watch=False))
    files = tuple(file for parts in messages for file in parts)
    return graph.replace(graph.source.name, Replay(files=files, whole=True))


def _lines(messages: Messages) -> tuple[str, ...]:
    """What was kept of frames of files, as lines of a list; what stands for a file that could not be read fails again."""
    from stages.files.image_list import parse_line
    from stages.wire.recorded import read_whole

    lines = (bytes(read_whole(files[-1])).decode(errors="surrogateescape") for files in messages)
    return tuple(line if parse_line(line).event else f"{line} //" for line in lines)


def through_graph(messages: Messages, load: Callable[[], Graph], command_line: str, and_clear: bool) -> int:
    """Run them through the graph, say which pass now, and return the exit status.

    What is rejected again is written down in a folder of its own, so that those of the first time do not become more.
    """
    from pipeline.command_line.console import print_on_stdout
    from pipeline.command_line.execute import execute
    from pipeline.texts import escaped

    with tempfile.TemporaryDirectory() as folder:

        def load_for_this() -> Graph:
            return load().with_options(
                dead_letters=Path(folder),
                keep_messages=False,
                max_dead_letters=_NO_LIMIT,
                dead_letter_bytes=_NO_LIMIT,
                max_frames=None,
                no_data_timeout_s=None,
                serial_offset=1,
            )

        def say_what_is_mended(report: Report) -> None:
            rejected = {letter.serial: letter for run in read_folder(Path(folder)) for letter in run.letters}
            for line in _what_is_mended(messages, report, rejected, and_clear):
                print_on_stdout(escaped(line))

        return execute(load_for_this, command_line, afterwards=say_what_is_mended)


_NO_LIMIT = 1 << 60


def _what_is_mended(
    messages: Messages, report: Report, rejected: Mapping[int, Letter], and_clear: bool
) -> Iterator[str]:
    """Say how many pass now, and of the others what they were rejected for, and are.

    Parameters
    ----------
    rejected
        Serial, which is the place among the messages, beginning with 1 -> its letter of this run.
    """
    dropped = max((tally.dropped for tally in report.leaves.values()), default=0)
    if dropped or report.lost_letters:
        lost = f"{dropped} were dropped" if dropped else report.lost_letters
        yield f"mended: not known, since {lost}"
        return
    received = dict(list(enumerate(messages.values(), 1))[: report.received])
    mended = [letter for serial, letters in received.items() if serial not in rejected for letter in letters]
    number = len(received) - len(rejected)
    end = ""
    if mended:
        where = mended[0].files[0].parent
        end = (
            f"; {words.freed(_deleted(mended, where))}"
            if and_clear
            else f" (they stay in {where}; --clear deletes them)"
        )
    yield f"mended: {number} of {len(messages)} pass now{end}"
    changes: Counter[str] = Counter()
    for serial, again in rejected.items():
        before = " and ".join(dict.fromkeys(f"{letter.node}: {letter.reason}" for letter in received[serial]))
        now = f"{again.node}: {again.reason}"
        changes[f"{before}, as before" if now == before else f"{before} before, {now} now"] += 1
    yield from (f"not mended: {count} x {change}" for change, count in changes.most_common())
    if len(received) < len(messages):
        yield f"not run: {len(messages) - len(received)}"


def _deleted(letters: Sequence[Letter], folder: Path) -> Freed:
    chosen = frozenset(letters)
    runs = [replace(run, letters=tuple(x for x in run.letters if x in chosen)) for run in read_folder(folder)]
    return clear([run for run in runs if run.letters], whole_runs=False)
