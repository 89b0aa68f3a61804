"""Unit cells: what they are, how they are read, and what a lattice type restricts. gemmi does the symmetry."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Lattice:
    """The lattice type in CrystFEL's words.

    Attributes
    ----------
    lattice_type
        triclinic, monoclinic, orthorhombic, tetragonal, rhombohedral, hexagonal or cubic.
    centering
        P, A, B, C, I, F, R or H.
    unique_axis
        a, b, c, or ``*`` where there is none.
    """

    lattice_type: str = "triclinic"
    centering: str = "P"
    unique_axis: str = "*"
