"""Changes of a geometry file: which directive gets which value, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """One directive that should be another.

    Attributes
    ----------
    directive
        As in the file: ``clen``, ``flag_morethan``; with the name of a panel or a bad region before what is its own:
        ``badgap/min_fs``.
    value
        The new value, as it stands in the file.
    why
        The comment that stands beside it.
    """

    directive: str
    value: str
    why: str
