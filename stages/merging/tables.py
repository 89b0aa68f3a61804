"""Figures of merit as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stages.merging.shells import Quality, Shell

HEADINGS = ("d/A", "possible", "measured", "complete", "multiplicity", "CC1/2", "CC*", "Rsplit", "I/sigma")

CAVEAT = (
    "a quick look: means over symmetry equivalents, without post-refinement or rejection of outliers; "
    "merge with partialator for anything that matters"
)


def shell_rows(found: Quality) -> list[tuple[str, ...]]:
    """A row for each shell and one for all."""
    shells = [_row(_limits(shell), shell) for shell in found.shells]
    return [*shells, _row("all", found.overall)]


def _limits(shell: Shell) -> str:
    first = "inf" if math.isinf(shell.d_max_angstrom) else f"{shell.d_max_angstrom:.2f}"
    return f"{first} - {shell.d_min_angstrom:.2f}"


def _row(limits: str, shell: Shell) -> tuple[str, ...]:
    return (
        limits,
        str(shell.possible) if shell.possible else "-",
        str(shell.measured),
        *merit(shell),
    )


def merit(shell: Shell) -> tuple[str, ...]:
    """The figures of merit, under the headings from "complete" on."""
    return (
        percent(shell.completeness),
        number(shell.multiplicity, 1),
        number(shell.cc_half, 3),
        number(shell.cc_star, 3),
        percent(shell.r_split),
        number(shell.i_over_sigma, 1),
    )


def text_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of columns, flush right.

    >>> text_table(("a", "bb"), [("12", "3")])
    [' a  bb', '12   3']
    """
    table = [tuple(headings), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(word.rjust(width) for word, width in zip(row, widths, strict=True)) for row in table]


def percent(part: float) -> str:
    """A fraction in percent; a dash where there is none."""
    return f"{100 * part:.1f} %" if math.isfinite(part) else "-"


def number(value: float, digits: int) -> str:
    """A number; a dash where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"
