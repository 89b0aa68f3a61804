"""What index/pairs needs to know of a target cell: tables that all replicas read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.index._kernels.known.reported import N_REPORT, report_of, search_and_report
from stages.index._kernels.known.tuples import Cell, Report, Tables
from stages.index._kernels.known.turns import MAX_STEPS
from stages.index._twins import twins
from stages.lattices.cell import UnitCell, metric_rotations, near_rotations, primitive

SMALL_TABLE, LARGE_TABLE = 60_000, 300_000
FEW_DIRECTIONS, MORE_DIRECTIONS, MANY_DIRECTIONS = 16_384, 32_768, 131_072
MIDDLING_CELL_ANGSTROM, LARGE_CELL_ANGSTROM = 100.0, 200.0


@dataclass(frozen=True, eq=False)
class Target:
    """A target cell as :func:`stages.index._kernels.known.reported.search_and_report` wants it.

    Attributes
    ----------
    cell, tables
        What the kernels read. Of the rotations pseudo-symmetry within 2 % is included; ``cell.variants`` are the changes of
        basis that leave the metric as it is within 10 %, but not exactly: in the wrong one of them a pattern is explained, too,
        by a cell somewhat deformed.
    to_conventional
        ``to_conventional @ cell.basis`` is the conventional cell.
    """

    cell: Cell
    tables: Tables
    to_conventional: NDArray[np.float64]

    def search(
        self,
        q_per_angstrom: NDArray[np.float64],
        wavelength_angstrom: float,
        px_per_angstrom: float,
        scores: NDArray[np.float32],
        *,
        max_hypotheses: int = 300,
        max_polished: int = 40,
        check_peaks: bool = True,
    ) -> tuple[bool, NDArray[np.float64], Report]:
        """Run the search; return whether it is significant, the primitive basis and the kernel's report."""
        basis, out = np.zeros((3, 3)), np.empty(N_REPORT)
        accepted = search_and_report(
            q_per_angstrom,
            1.0 / wavelength_angstrom,
            px_per_angstrom,
            self.cell,
            self.tables,
            max_hypotheses,
            max_polished,
            check_peaks,
            scores,
            basis,
            out,
        )
        return bool(accepted), basis, report_of(out)

    def make_scores(self) -> NDArray[np.float32]:
        """Room that one running object needs for itself."""
        return np.empty(max(self.tables.directions.shape[1], MAX_STEPS), np.float32)


def make_target(cell: UnitCell) -> Target:
    """Make the tables of a cell."""
    reduced = primitive(cell)
    basis = np.array(reduced.real_space_angstrom)
    group = metric_rotations(basis)
    exact = metric_rotations(basis, 1e-4)
    longest = float(np.linalg.norm(basis[2]))
    large = longest > LARGE_CELL_ANGSTROM
    hkl, vectors, length = _reciprocal_vectors(basis, LARGE_TABLE if large else SMALL_TABLE)
    canonical = _canonical(hkl, group)
    axes = np.array([0, 1])
    circle = 2 * np.pi * np.arange(MAX_STEPS) / MAX_STEPS
    return Target(
        Cell(
            basis=basis,
            n_sym=len(group),
            volume=abs(float(np.linalg.det(basis))),
            longest=longest,
            variants=_cosets(near_rotations(basis, 0.1), exact).astype(np.float64),
            twins=twins(basis, exact),
        ),
        Tables(
            table=np.ascontiguousarray(vectors.T),
            table_length=length,
            canonical=np.ascontiguousarray(vectors[canonical].T),
            canonical_length=np.ascontiguousarray(length[canonical]),
            axes=axes,
            signs=np.array([1 if (group[:, axis] == -np.eye(3)[axis]).all(axis=1).any() else 2 for axis in axes]),
            directions=half_sphere(_how_many_directions(longest)),
            cosine=np.cos(circle).astype(np.float32),
            sine=np.sin(circle).astype(np.float32),
        ),
        np.array(reduced.to_conventional, np.float64),
    )


def _how_many_directions(longest_angstrom: float) -> int:
    if longest_angstrom > LARGE_CELL_ANGSTROM:
        return MANY_DIRECTIONS
    return MORE_DIRECTIONS if longest_angstrom > MIDDLING_CELL_ANGSTROM else FEW_DIRECTIONS


def half_sphere(n: int) -> NDArray[np.float32]:
    """Return n unit vectors with z > 0, (3, n), evenly spread: a Fibonacci lattice.

    Their spacing is about sqrt(2 pi / n) (González, 2010, https://doi.org/10.1007/s11004-009-9257-x).
    """
    k = np.arange(n)
    z = (k + 0.5) / n
    longitude = k * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - z * z)
    return np.array([radius * np.cos(longitude), radius * np.sin(longitude), z], np.float32)


def _reciprocal_vectors(
    basis: NDArray[np.float64], about: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return hkl, vectors and lengths of about so many reciprocal vectors, sorted by length, without (0, 0, 0)."""
    volume = abs(np.linalg.det(basis))
    limit = (3 * about / (4 * np.pi * volume)) ** (1 / 3)
    limit = max(limit, 3 / float(np.linalg.norm(basis[0])))  # at least three orders along the shortest axis
    most = np.floor(limit * np.linalg.norm(basis, axis=1)).astype(int)  # |h| = |a.g| <= |a| |g|
    ranges = [np.arange(-m, m + 1) for m in most]
    hkl = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    vectors = hkl @ np.linalg.inv(basis).T
    length = np.linalg.norm(vectors, axis=1)
    inside = np.flatnonzero((length > 0) & (length <= limit))
    order = inside[np.argsort(length[inside], kind="stable")]
    return hkl[order].astype(np.int64), vectors[order], length[order]


def _canonical(hkl: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark one vector of each orbit under the rotations: the one whose packed index is the largest.

    With ``W @ basis`` the rotated basis, the vector with indices h goes to the one with ``W h``.
    """
    base = 2 * int(np.abs(hkl).max()) * 3 + 1

    def packed(indices: NDArray[np.int64]) -> NDArray[np.int64]:
        offset = indices + base // 2
        return (offset[:, 0] * base + offset[:, 1]) * base + offset[:, 2]

    own = packed(hkl)
    is_largest = np.ones(len(hkl), np.bool_)
    for matrix in group[1:]:
        is_largest &= packed(hkl @ matrix.T) <= own
    return is_largest


def _cosets(matrices: NDArray[np.int64], exact: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return one element of each left coset ``exact * w`` of the matrices, the identity first."""
    chosen: list[NDArray[np.int64]] = []
    covered: set[bytes] = set()
    for matrix in matrices:
        if matrix.tobytes() not in covered:
            chosen.append(matrix)
            covered.update((e @ matrix).tobytes() for e in exact)
    return np.array(chosen)
