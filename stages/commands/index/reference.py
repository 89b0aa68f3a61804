"""The manual of ``streamajig index``'s options, ``docs/reference-options.md``, made from the table.

``python -m stages.commands.index.reference`` prints it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from stages.commands.index.methods import INTEGRATION_FLAGS, PEAK_METHODS
from stages.commands.index.options import Option, Status
from stages.commands.index.table import COMPARING, OPTIONS, OTHER_INDEXERS, PANELS, RUNNING


def _list(words: Iterable[str]) -> str:
    return ", ".join(words)


_INTRODUCTION = f"""\
# Options of `streamajig index`

This page is generated from the table in `stages/commands/index/table.py`; the command line is made from the same table.

Options have the names and meanings of CrystFEL's indexamajig (version 0.12); those marked *own* are streamajig's.
*Goes to* says which node of the graph gets the value, and as which parameter: `--print-graph` prints that graph as YAML
for `streamajig run`, and `streamajig stages NAME` prints a stage's manual.

- A long option may be abbreviated as long as it can be no other (`--int-rad=4,5,6`), as for indexamajig: *own* options do not
  make ambiguous what is not so there.
- An option that is refused ends the program with exit status 2 and the reason; none is ever ignored.
- An option that asks for what is true anyway is accepted, and the log says so.
- An option that has no effect in the graph that was asked for, such as `--threshold` with `--peaks=msgpack`, gives a
  warning.

`--peaks` takes {_list(f"`{method}` (`{stage}`)" for method, stage in PEAK_METHODS.items())}.
`--indexing` takes `auto`, `none`, or the second half of the name of any stage `index/...`, or several with commas between
them: each gets a node of its own, and passes on what the ones before it have found. `auto` is `pairs` if `-p` gives a unit
cell; without one it begins like `lattice` and goes on like `pairs` once the crystals agree on a cell. `--integration` takes
`none`, `rings` or `prof2d`, and after it {_list(f"`-{flag}` or `-no{flag}`" for flag in INTEGRATION_FLAGS)}, as in
`rings-cen-nosat`.

| exit status | meaning |
|---|---|
| 0 | the stream ended, or SIGINT, SIGTERM or SIGHUP ended it: whatever had been received is finished and written |
| 1 | something failed, such as an output that could no longer be written; the report says what, or failed itself |
| 2 | something that the user can mend; nothing was run |
| 3 | frames came, and not one was delivered: all were rejected (frames without a hit are delivered) |
| 4 | nothing came at all, whatever ended the run |
| 130 | a second signal abandoned frames in flight (the report says how many), or the first came before any frame |
"""


def reference() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, *_supported(), *_noted(), *_refused()])


def _supported() -> Iterator[str]:
    for panel in PANELS:
        rows = [row for row in OPTIONS if row.panel == panel and row.status is Status.SUPPORTED]
        if rows:
            yield f"## {panel}\n\n| option | meaning | default | goes to |\n|---|---|---|---|"
            yield from map(_row, rows)
            yield ""


def _row(row: Option) -> str:
    target = ", ".join(f"`{place}`" for place in row.sets) or "the shape of the graph"
    if row.also:
        target += "; besides " + ", ".join(f"`{place}`" for place in row.also)
    if row.panel in (RUNNING, COMPARING) and not row.sets:
        target = "the command"
    text = row.help + (" *own*" if row.own else "")
    return f"| {_spellings(row)} | {text} | {row.default or '-'} | {target} |"


def _spellings(row: Option) -> str:
    value = row.metavar if row.alone else f" {row.metavar or 'VALUE'}" if row.kind is not bool else ""
    return ", ".join(f"`{flag}{value}`" for flag in row.flags)


def _noted() -> Iterator[str]:
    yield "## Accepted, and true anyway\n\n| option | why |\n|---|---|"
    yield from (f"| {_spellings(row)} | {row.why} |" for row in OPTIONS if row.status is Status.NOTED)
    yield ""


def _refused() -> Iterator[str]:
    yield "## Refused\n\n| option | why |\n|---|---|"
    by_reason: dict[str, list[Option]] = {}
    for row in OPTIONS:
        if row.status is Status.REFUSED:
            by_reason.setdefault(row.why, []).append(row)
    for why, rows in by_reason.items():
        names = (
            _family(rows)
            if rows[0].panel == OTHER_INDEXERS
            else ", ".join(f"`{flag}`" for r in rows for flag in r.flags)
        )
        yield f"| {names} | {why} |"
    yield ""


def _family(rows: list[Option]) -> str:
    """The options of one indexing program, shortly: ``--asdf-*``."""
    program = rows[0].flag.removeprefix("--help-")
    others = f", `{rows[1].flag[: len('--' + program)]}-*`" if len(rows) > 1 else ""
    return f"`{rows[0].flag}`{others}"


if __name__ == "__main__":
    sys.stdout.write(reference())
