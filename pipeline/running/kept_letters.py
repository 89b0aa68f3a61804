"""Dead letters that runs have kept in a folder: what there is, some of it chosen, and that deleted.

What :mod:`pipeline.running.dead_letters` writes is read here: for each run ``RUN.jsonl``, a line for each rejected frame,
and beside it ``RUN-SERIAL.msgpack`` where messages are kept. Whatever else lies in the folder is none of ours, and is not
touched. The folder may come from elsewhere, and a run may have ended in the middle of a line: a line counts if it is whole,
and if the messages that it names can be its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.hints import did_you_mean

FOLDER = Path("dead_letters")
"""Where they are looked for; runs that keep any are told a folder, and all examples tell them this one."""

NEWEST = "newest"

_RUN = re.compile(r"(\d{8}T\d{6}-\d+(?:_\d+)?)\.jsonl")
_MESSAGE = re.compile(r"(\d{8}T\d{6}-\d+(?:_\d+)?)-(-?\d+)(?:\.preamble)?(?:\.\d+)?\.msgpack")


def is_one_part(name: str) -> bool:
    """Whether a file of this name is one part of a dead letter whose message has several, or had something said before it.

    >>> is_one_part("20260104T120000-71-0000003.msgpack"), is_one_part("20260104T120000-71-0000003.preamble.0.msgpack")
    (False, True)
    """
    return _MESSAGE.fullmatch(name) is not None and name.count(".") > 1


@dataclass(frozen=True)
class Letter:
    """One rejected frame.

    Attributes
    ----------
    serial, event, node, reason, detail
        As in :class:`~pipeline.frame.Rejected`.
    received
        When its message came, as in ISO 8601, UTC.
    files
        The parts of its message, and of what its sender has said once before; none if messages were not kept.
    num_bytes
        What these have together, as far as they are still there.
    missing
        How many of them are gone.
    line_bytes
        What its line in the run's file has.
    """

    run: str
    serial: int
    event: str
    node: str
    reason: str
    detail: str
    received: str
    files: tuple[Path, ...] = ()
    num_bytes: int = 0
    missing: int = 0
    line_bytes: int = 0

    @property
    def has_message(self) -> bool:
        """Whether all of its message is there."""
        return bool(self.files) and not self.missing

    def as_json(self) -> dict[str, Any]:
        """Return what is known of it, for machines."""
        names = ("run", "serial", "event", "node", "reason", "detail", "received")
        return {name: getattr(self, name) for name in names} | {
            "message": [str(file) for file in self.files],
            "message_bytes": self.num_bytes if self.has_message else None,
        }


@dataclass(frozen=True)
class KeptRun:
    """The dead letters of one run.

    Attributes
    ----------
    name
        Time and process of the run, as its files are named.
    letters
        In the order in which they were rejected.
    damaged
        Numbers of the lines that cannot be read; the last one, where a run ended while it wrote.
    is_writing
        Whether the run still goes on, or that cannot be told.
    trouble
        Why its file cannot be read; empty if it can.
    loose
        Messages of the run that no line names: it ended between the two.
    """

    name: str
    path: Path
    letters: tuple[Letter, ...] = ()
    damaged: tuple[int, ...] = ()
    is_writing: bool = False
    trouble: str = ""
    loose: tuple[Path, ...] = ()

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """How many letters there are of each node and reason."""
        return Counter((letter.node, letter.reason) for letter in self.letters)


def read_folder(folder: Path) -> list[KeptRun]:
    """Read all that runs have kept in a folder, the oldest run first; UserError if it is none."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        why = "no such folder" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(
            f"{folder}: {why}; wanted is a folder in which runs have kept dead letters (index --dead-letters=FOLDER, or "
            "dead_letters: FOLDER under run: in YAML)"
        ) from None
    messages: dict[str, set[Path]] = {}
    runs = []
    for name in names:
        if found := _MESSAGE.fullmatch(name):
            messages.setdefault(found[1], set()).add(folder / name)
        elif found := _RUN.fullmatch(name):
            runs.append(found[1])
    return [_read_run(folder, name, messages.get(name, set())) for name in sorted({*runs, *messages})]


@dataclass(frozen=True)
class Choice:
    """Which letters are meant: those to which all of this applies; nothing given, all.

    Attributes
    ----------
    nodes, reasons
        One of these.
    runs
        Names of runs, or how they begin; `NEWEST`.
    which
        Serials, or events, or `NEWEST`: the last one rejected.
    """

    nodes: Sequence[str] = ()
    reasons: Sequence[str] = ()
    runs: Sequence[str] = ()
    which: Sequence[str] = ()

    @property
    def is_of_letters(self) -> bool:
        """Whether it is more than a choice of runs."""
        return bool(self.nodes or self.reasons or self.which)

    def of(self, runs: Sequence[KeptRun]) -> list[KeptRun]:
        """Return the runs with those of their letters that are meant, without those that have none.

        UserError for a node, reason, run, serial or event that is nowhere, with those that are near.
        """
        runs = [run for run in runs if not self.runs or self._has(run.name, runs)]
        every = [letter for run in runs for letter in run.letters]
        if every:
            _all_there("node", self.nodes, {letter.node for letter in every})
            _all_there("reason", self.reasons, {letter.reason for letter in every})
        _all_there("serial or event", self.which, {NEWEST, *_names(every)}, hint=False)
        newest = every[-1:] if NEWEST in self.which else []
        found = []
        for run in runs:
            letters = tuple(letter for letter in run.letters if self._means(letter) or letter in newest)
            if letters or not self.is_of_letters:
                found.append(replace(run, letters=letters))
        return found

    def _means(self, letter: Letter) -> bool:
        return (
            (not self.nodes or letter.node in self.nodes)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.which or str(letter.serial) in self.which or letter.event in self.which)
        )

    def _has(self, name: str, runs: Sequence[KeptRun]) -> bool:
        for wanted in self.runs:
            if wanted != NEWEST and not any(run.name.startswith(wanted) for run in runs):
                raise UserError(
                    f"there is no run {wanted!r}; there are: {', '.join(run.name for run in runs) or 'none'}"
                )
        return any(name == runs[-1].name if wanted == NEWEST else name.startswith(wanted) for wanted in self.runs)


@dataclass
class Freed:
    """What was deleted, and what was not, with a sentence each."""

    letters: int = 0
    messages: int = 0
    num_bytes: int = 0
    problems: list[str] = field(default_factory=list)


def clear(chosen: Iterable[KeptRun], *, whole_runs: bool) -> Freed:
    """Delete letters and their messages, and nothing else.

    Of a run that is over the file is made anew without them, or deleted if nothing is left in it. That of a run that still
    writes stays: their lines are blanked, at the place where they stand, so that what is appended meanwhile is not touched.

    Parameters
    ----------
    chosen
        Runs, with the letters that are to be deleted.
    whole_runs
        Delete what a run that is over has left besides, too: damaged lines, and messages without a line.
    """
    freed = Freed()
    for run in chosen:
        try:
            _clear_run(run, freed, whole_runs)
        except OSError as error:
            freed.problems.append(f"{run.path}: cannot be changed: {error.strerror}")
    return freed


def _clear_run(run: KeptRun, freed: Freed, whole_run: bool) -> None:
    is_over, rest = True, bytearray()
    cleared: set[Path] = set()
    kept: set[Path] = set()
    if run.path.exists():
        chosen = {(letter.serial, letter.node, letter.reason) for letter in run.letters}
        with run.path.open("r+b", buffering=0) as file:
            is_over, content = _lock(file.fileno()), file.read()
            for first, line in _lines(content):
                letter = _letter(run.path.parent, run.name, line, {})
                if letter is not None and (letter.serial, letter.node, letter.reason) in chosen:
                    os.pwrite(file.fileno(), b" " * (len(line) - 1), first)
                    cleared.update(letter.files)
                    freed.letters += 1
                elif line.strip() and (letter is not None or not whole_run):
                    kept.update(letter.files if letter is not None else ())
                    rest += line
            if is_over:
                _replace(run.path, bytes(rest))
                freed.num_bytes += len(content) - len(rest)
    # a frame that two branches rejected has two lines, and one message
    for message in (*sorted(cleared - kept), *(run.loose if is_over and whole_run else ())):
        _delete(message, freed)


def _delete(file: Path, freed: Freed) -> None:
    try:
        size = file.lstat().st_size
        file.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        freed.problems.append(f"{file}: cannot be deleted: {error.strerror}")
        return
    freed.messages += 1
    freed.num_bytes += size


def _replace(path: Path, content: bytes) -> None:
    """Let a file have this content from now on, all of it or what it had; delete it if there is none."""
    if not content:
        path.unlink()
        return
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(content)
    new.replace(path)


def _lock(file: int) -> bool:
    """Whether nobody writes to a run's file any more; then nobody begins to until it is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # it is written to, or the file system has no locks and it might be
        return False
    return True


def _read_run(folder: Path, name: str, messages: Collection[Path]) -> KeptRun:
    path = folder / f"{name}.jsonl"
    try:
        with path.open("rb") as file:
            is_writing = not _lock(file.fileno())
            content = file.read()
    except FileNotFoundError:  # it ended before it wrote its first line
        return KeptRun(name, path, loose=tuple(sorted(messages)))
    except OSError as error:
        return KeptRun(name, path, trouble=f"{path}: cannot be read: {error.strerror}")
    sizes = dict(_sizes(messages))
    letters: list[Letter] = []
    damaged = []
    for number, (_, line) in enumerate(_lines(content), 1):
        if line.strip():
            letter = _letter(folder, name, line, sizes)
            if letter is not None:
                letters.append(letter)
            elif not is_writing or line.endswith(b"\n"):
                damaged.append(number)
    named = {file for letter in letters for file in letter.files}
    loose = () if is_writing else tuple(sorted(sizes.keys() - named))
    return KeptRun(name, path, tuple(letters), tuple(damaged), is_writing, loose=loose)


def _sizes(files: Iterable[Path]) -> Iterator[tuple[Path, int]]:
    for file in files:
        with contextlib.suppress(OSError):
            yield file, file.lstat().st_size


def _lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Where each line begins, and the line with its end."""
    first = 0
    for line in io.BytesIO(content):
        yield first, line
        first += len(line)


def _letter(folder: Path, run: str, line: bytes, sizes: Mapping[Path, int]) -> Letter | None:
    """Make a letter of a line, or None of one that none of our runs has written so."""
    if not line.endswith(b"\n"):
        return None
    try:
        said = json.loads(line)
        texts = {name: said[name] for name in ("event", "node", "reason", "detail", "received")}
        serial, names = said["serial"], said["message"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    if (
        type(serial) is not int
        or not isinstance(names, list)
        or not all(isinstance(x, str) for x in [*texts.values(), *names])
    ):
        return None
    for name in names:  # else a line could have other files deleted
        found = _MESSAGE.fullmatch(name)
        if found is None or found[1] != run or int(found[2]) != serial:
            return None
    files = tuple(folder / name for name in names)
    there = [sizes[file] for file in files if file in sizes]
    return Letter(
        run=run,
        serial=serial,
        **texts,
        files=files,
        num_bytes=sum(there),
        missing=len(files) - len(there),
        line_bytes=len(line),
    )


def _names(letters: Iterable[Letter]) -> Iterator[str]:
    for letter in letters:
        yield str(letter.serial)
        yield letter.event


def _all_there(what: str, wanted: Iterable[str], there: Collection[str], *, hint: bool = True) -> None:
    for name in wanted:
        if name not in there:
            raise UserError(f"no dead letter has the {what} {name!r}" + (did_you_mean(name, there) if hint else ""))
