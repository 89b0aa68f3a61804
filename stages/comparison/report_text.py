"""A verdict in the report of a run: who is best, a table with a row for each variant, and the sentences that matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline.texts import one_line
from stages.comparison.chosen import sentences, shown_measures
from stages.comparison.estimates import estimates
from stages.comparison.table import FrameTable
from stages.comparison.verdict import Verdict
from stages.comparison.words import heading, said, short, with_error
from stages.merging.shells import Quality

_WIDTH = 100
"""Columns that do not fit go into a second table below."""

_LONGEST_NAME = 28

_NOTE = (
    "+- is one standard error; variants are compared frame by frame, which tells more than two means beside each other"
)


def text_of(verdict: Verdict, table: FrameTable, merged: Mapping[str, Quality] | None = None) -> str:
    """Return the report of a verdict; with merged intensities, CC1/2 is one of the columns."""
    if not len(table):
        return one_line(verdict.why)
    lines = [one_line(verdict.why), "", *_table(verdict, table, merged or {}), ""]
    lines += [f"- {one_line(sentence)}" for sentence in sentences(verdict, table)]
    return "\n".join([*lines, _NOTE])


def _table(verdict: Verdict, table: FrameTable, merged: Mapping[str, Quality]) -> Iterator[str]:
    names = [f"{'*' if name == verdict.best else ' '} {short(name, _LONGEST_NAME)}" for name in table.variants]
    columns = [
        [heading(measure), *(said(measure, each.mean, each.error) for each in estimates(table, measure.name))]
        for measure in shown_measures(verdict, table)
    ]
    if merged:
        halves = [merged[name].overall.cc_half if name in merged else float("nan") for name in table.variants]
        columns.append(["CC1/2", *(with_error(value, float("nan")) for value in halves)])
    first = ["", *names]
    width = max(map(len, first))
    block: list[Sequence[str]] = []
    used = width
    for column in columns:
        needs = 2 + max(map(len, column))
        if block and used + needs > _WIDTH:
            yield from _lines(first, block)
            yield ""
            block, used = [], width
        block.append(column)
        used += needs
    yield from _lines(first, block)


def _lines(first: Sequence[str], columns: Sequence[Sequence[str]]) -> Iterator[str]:
    """Names flush left, numbers flush right."""
    widths = [max(map(len, column)) for column in columns]
    left = max(map(len, first))
    for name, *row in zip(first, *columns, strict=True):
        cells = "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        yield f"{name.ljust(left)}  {cells}".rstrip()
