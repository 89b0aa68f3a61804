"""What a command reads and what it writes: an output never takes the place of an input, nor of another output.

Names do not tell which file is meant: there are links, and paths from other folders. So files that are there are compared by
device and inode, and those that are not yet by their real path. Every command says what it reads and writes to
:func:`keep_apart`; graphs do so in ``graph.check()``, by the fields of their stages (:func:`of_stage`).
"""

from __future__ import annotations

import dataclasses
import logging
import os
import stat
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.contract import role_of
from pipeline.errors import UserError

log = logging.getLogger("streamajig.graph")

STDOUT = Path("-")
"""As an output: standard output. As an input: standard input."""


class Named(NamedTuple):
    """A file, and what names it: an option (``--output``), or a node's parameter."""

    path: Path
    by: str


def of_stage(stage: Any) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Return what a stage reads and what it writes, by the name of the field.

    Fields that hold paths are files that are read, in a sink files that are written; a class whose fields are otherwise says
    which are written in ``output_files``. A source that reads more than it names (the files of a folder) has ``input_files()``.
    """
    reads: dict[str, list[Path]] = {}
    writes: dict[str, list[Path]] = {}
    for name, paths, is_output in _fields_with_paths(stage):
        (writes if is_output else reads)[name] = paths
    if hasattr(stage, "input_files"):
        reads["files"] = list(stage.input_files())
    return reads, writes


def _fields_with_paths(stage: Any) -> Iterator[tuple[str, list[Path], bool]]:
    """The fields that hold paths, with these, and whether they are written."""
    written = getattr(stage, "output_files", None)
    is_sink = role_of(type(stage)) == "sink"
    for field in dataclasses.fields(stage):
        value = getattr(stage, field.name)
        paths = [path for path in (value if isinstance(value, tuple) else (value,)) if isinstance(path, Path)]
        if paths:
            yield field.name, paths, is_sink if written is None else field.name in written


def read_from(stage: Any, folders: Mapping[str, Path]) -> Any:
    """Return the stage with files that it reads looked for in these folders, by the name of the field; see decision 29."""

    def looked_for(name: str, path: Path) -> Path:
        if name not in folders:
            return path
        found = folders[name] / path
        if found != path and path.exists() and not found.exists():
            log.warning(
                "%s (%s of %s) is not there, and %s is: a graph names what it reads as seen from its own folder, and not from "
                "where it is run",
                found,
                name,
                stage.stage_name,
                path,
            )
        return found

    return _with_reads(stage, looked_for)


def to_lie_in(stage: Any, folder: Path | None) -> Any:
    """Return the stage as a graph in a file of this folder names what it reads: :func:`read_from` turns it back.

    What does not lie in the folder is named from the root; without a folder, all is.
    """
    return _with_reads(stage, lambda _, path: named_in(folder, path))


def named_in(folder: Path | None, path: Path) -> Path:
    """Return how a file of this folder names another one: from there if that lies in it, else from the root."""
    whole = Path(os.path.abspath(path))
    if folder is None or path.is_absolute():
        return whole
    home = Path(os.path.abspath(folder))
    return whole.relative_to(home) if whole.is_relative_to(home) else whole


def _with_reads(stage: Any, change: Callable[[str, Path], Path]) -> Any:
    changes: dict[str, Any] = {}
    for name, paths, is_output in _fields_with_paths(stage):
        if not is_output:
            old = getattr(stage, name)
            new = [path if path == STDOUT else change(name, path) for path in paths]
            if new != paths:
                changes[name] = tuple(new) if isinstance(old, tuple) else new[0]
    return dataclasses.replace(stage, **changes) if changes else stage


def clashes(inputs: Iterable[Named], outputs: Iterable[Named]) -> Iterator[str]:
    """Say which outputs would destroy an input or another output, a sentence for each."""
    read: dict[Hashable, Named] = {}
    for named in inputs:
        if named.path != STDOUT:
            read.setdefault(_identity(named.path), named)
    written: dict[Hashable, Named] = {}
    for named in outputs:
        identity = _identity(named.path)
        if identity is None:
            continue
        if identity in read:
            other = read[identity]
            yield (
                f"{named.by} would be written over {other.path}, which {other.by} reads"
                + (f" ({named.path} is the same file)" if other.path != named.path else "")
                + "; write it to another file"
            )
        elif identity in written:
            other = written[identity]
            yield f"{other.by} and {named.by} would both be written to {named.path}; give each a file of its own"
        else:
            written[identity] = named


def keep_apart(inputs: Iterable[Named], outputs: Iterable[Named]) -> None:
    """Refuse outputs that would destroy an input or another output; UserError says which."""
    problems = list(clashes(inputs, outputs))
    if problems:
        raise UserError("\n".join(problems))


def by_option(**paths: Path | Iterable[Path] | None) -> list[Named]:
    """Name files by the options that give them.

    >>> by_option(write_cell=Path("a.cell"), truth=None)
    [Named(path=PosixPath('a.cell'), by='--write-cell')]
    """
    found = []
    for option, given in paths.items():
        for path in () if given is None else (given,) if isinstance(given, Path) else given:
            found.append(Named(path, f"--{option.replace('_', '-')}"))
    return found


def ask_before_overwriting(outputs: Iterable[Named], force: bool) -> None:
    """Refuse to write over files that are there, unless that is asked for; devices, pipes and empty files are no loss."""
    if force:
        return
    there = [named for named in outputs if is_there(named.path)]
    if there:
        raise UserError("\n".join(f"{by}: {path} is there already: --force writes over it" for path, by in there))


def is_there(path: Path) -> bool:
    """Whether a file is there in which something stands."""
    try:
        found = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size > 0


def take_stdout() -> int:
    """Return a file descriptor of standard output for data alone: all else that is printed goes to stderr from now on."""
    sys.stdout.flush()
    data = os.dup(1)
    os.dup2(2, 1)
    return data


def _identity(path: Path) -> Hashable:
    """What two paths of one file have in common; None for what cannot be overwritten: a folder, a device, a pipe."""
    if path == STDOUT:
        return "-"
    try:
        found = path.stat()
    except OSError:
        return os.path.realpath(path)
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None
