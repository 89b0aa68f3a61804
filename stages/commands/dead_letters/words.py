"""Dead letters in words: tables of runs, one letter with its message, what was deleted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline import UserError
from pipeline.amounts import several, size
from pipeline.running.kept_letters import Freed, KeptRun, Letter


def table(runs: Sequence[KeptRun], folder: Path) -> Iterator[str]:
    """Say what runs have kept: a line for each, one for each node and reason, and what is wrong."""
    if not runs:
        yield nothing_in(folder)
    for run in runs:
        if run.trouble:
            yield run.trouble
            continue
        yield f"{run.name}: {', '.join(_facts(run))}"
        counts = run.counts.most_common()
        width = len(str(counts[0][1])) if counts else 0
        for (node, reason), count in counts:
            yield f"  {count:{width}}  {node}: {reason}"
        if run.damaged:
            yield f"  {several(len(run.damaged), 'line')} of {run.path} cannot be read, the first is line {run.damaged[0]}"
        if run.loose:
            yield f"  {several(len(run.loose), 'file')} of a message that no line names, the first is {run.loose[0].name}"
    if len(runs) > 1:
        yield f"in all: {amount(runs)}"


def run_as_json(run: KeptRun) -> dict[str, Any]:
    """Return all that is known of a run's dead letters, for machines."""
    return {
        "run": run.name,
        "file": str(run.path),
        "bytes": _num_bytes(run),
        "is_writing": run.is_writing,
        "trouble": run.trouble or None,
        "damaged_lines": list(run.damaged),
        "messages_without_line": [str(file) for file in run.loose],
        "counts": [{"node": node, "reason": reason, "count": n} for (node, reason), n in run.counts.most_common()],
        "letters": [letter.as_json() for letter in run.letters],
    }


def whole(letter: Letter) -> Iterator[str]:
    """Say all that is known of one, with its message."""
    from stages.wire.outline import outline
    from stages.wire.recorded import read_whole

    event = f", event {letter.event}" if letter.event else ""
    yield f"frame {letter.serial} of run {letter.run}{event}, received {_when(letter.received)}"
    yield f"rejected at {letter.node}: {letter.reason}: {letter.detail}"
    if not letter.files:
        yield "its message was not kept (--keep-messages keeps it)"
    for file in letter.files:
        try:
            body = read_whole(file)
        except UserError as error:
            yield str(error)
            continue
        yield f"{file}, {size(len(body), 'bytes')}:"
        yield from (f"  {line}" for line in outline(body))


def amount(runs: Sequence[KeptRun]) -> str:
    """How many letters, of how many runs, and what they take."""
    letters = sum(len(run.letters) for run in runs)
    return (
        f"{several(letters, 'dead letter')} of {several(len(runs), 'run')}, {size(sum(map(_num_bytes, runs)), 'bytes')}"
    )


def freed(what: Freed) -> str:
    """What was deleted."""
    files = several(what.messages, "file")
    return f"deleted {several(what.letters, 'dead letter')} with {files} of messages: {size(what.num_bytes, 'bytes')} are free"


def without_message(letters: Sequence[Letter]) -> str:
    """Say that these cannot be run again."""
    gone = sum(bool(letter.files) for letter in letters)
    kept = f"of {gone} it is gone" if gone else ""
    never = f"of {len(letters) - gone} it was not kept" if len(letters) > gone else ""
    return f"without a message, and left out: {', '.join(filter(None, (never, kept)))}"


def nothing_in(folder: Path) -> str:
    """Say that there is none."""
    return f"{folder}: no dead letters in this folder"


def _facts(run: KeptRun) -> Iterator[str]:
    yield several(len(run.letters), "dead letter")
    if run.letters:
        times = sorted(letter.received for letter in run.letters)
        first, last = _when(times[0]), _when(times[-1])
        yield first if first == last else f"{first} to {last}"
        kept = sum(letter.has_message for letter in run.letters)
        yield {0: "without messages", len(run.letters): "messages kept"}.get(kept, f"messages of {kept} kept")
    yield size(_num_bytes(run), "bytes")
    if run.is_writing:
        yield "still writing"


def _num_bytes(run: KeptRun) -> int:
    """What these letters take: their messages, each once, and their lines."""
    messages = {letter.files: letter.num_bytes for letter in run.letters}
    return sum(messages.values()) + sum(letter.line_bytes for letter in run.letters)


def _when(received: str) -> str:
    return received[:19].replace("T", " ")
