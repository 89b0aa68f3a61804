"""Lines of a stream that more than one part of the program writes."""

from __future__ import annotations

from collections.abc import Iterable


def cell_line(lengths_nm: Iterable[float], angles_deg: Iterable[float]) -> str:
    """The cell of a crystal.

    >>> cell_line((7.9, 7.9, 3.8), (90, 90, 90))
    'Cell parameters 7.90000 7.90000 3.80000 nm, 90.00000 90.00000 90.00000 deg'
    """
    return "Cell parameters {:7.5f} {:7.5f} {:7.5f} nm, {:7.5f} {:7.5f} {:7.5f} deg".format(*lengths_nm, *angles_deg)


def star_line(axis: str, per_nm: Iterable[float]) -> str:
    """One of a crystal's vectors in reciprocal space.

    >>> star_line("a", (0.1, 0, -0.2))
    'astar = +0.1000000 +0.0000000 -0.2000000 nm^-1'
    """
    return "{}star = {:+9.7f} {:+9.7f} {:+9.7f} nm^-1".format(axis, *per_nm)
