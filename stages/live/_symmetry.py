"""The Bravais type of a consensus, and its conventional axes, judged by how much single crystals scatter.

The rotations of a lattice are integer matrices W: ``W @ basis`` is the basis, turned. Those that the mean has nearly are
candidates; the largest group of them is taken whose restrictions (a = b, right angles ...) change no parameter of the mean by
more than `ALLOWED` spreads of a single crystal. The error of the mean would be too strict a measure: where two axes are equal,
crystals are expressed in the one of two bases that fits better, which by itself moves their means apart by a spread.

The axes follow from the group: an axis is the lattice vector v (in indices of the primitive basis) that a rotation leaves as it
is, ``v W = v``. The index of the lattice that the axes span, and where its points lie, is the centring (International Tables A,
1.3; the groups are those of Le Page, 1982, https://doi.org/10.1107/S0021889882011959).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from stages.lattice import Lattice, Matrix, impose_bravais, near_rotations, reduce_basis
from stages.live._clusters import Cluster, Mean, parameters_of

Integers = NDArray[np.int64]

ALLOWED = 2.0
_FLOOR = np.array([1e-3, 1e-3, 1e-3, 0.05, 0.05, 0.05])
"""Differences that are nothing, whatever the spread: parts of a length, and degrees."""

_PSEUDO = 0.06
"""Rotations that change the metric by more than this part of the product of two lengths are no candidates."""

_ORDER_OF_TRACE = {3: 1, -1: 2, 0: 3, 1: 4, 2: 6}


def conventional(cluster: Cluster) -> tuple[Integers, Lattice, Mean]:
    """Return the change of basis to conventional axes, the lattice type, and the mean in those axes."""
    reduced, change = reduce_basis(cluster.mean().basis)
    for group in _groups(reduced):
        for axes, lattice in _settings(group, reduced):
            mean = cluster.mean(axes @ change)
            imposed = impose_bravais(mean.basis, lattice)
            off = np.abs(parameters_of((imposed @ imposed.T)[None])[0] - mean.parameters)
            scale = np.array([*mean.parameters[:3], 1, 1, 1])
            if (off <= np.maximum(ALLOWED * np.nan_to_num(mean.spread), _FLOOR * scale)).all():
                return axes @ change, lattice, mean
    return change, Lattice(), cluster.mean(change)


def _groups(reduced: Matrix) -> Iterator[Integers]:
    """Groups of the rotations that the lattice nearly has, the largest first."""
    candidates = near_rotations(reduced, _PSEUDO)
    for n in range(len(candidates), 1, -1):
        if n in (2, 4, 6, 8, 12, 24):
            group = {matrix.tobytes() for matrix in candidates[:n]}
            if all((x @ y).tobytes() in group for x, y in itertools.product(candidates[:n], repeat=2)):
                yield candidates[:n]


def _settings(group: Integers, reduced: Matrix) -> Iterator[tuple[Integers, Lattice]]:
    """Conventional axes of a group as rows of indices, and their lattice type."""
    axes: dict[int, list[Integers]] = {2: [], 3: [], 4: [], 6: []}
    for matrix in group:
        order = _ORDER_OF_TRACE[int(np.trace(matrix))]
        if order > 1:
            axis = _fixed(matrix)
            if not any((axis == other).all() for other in axes[order]):
                axes[order].append(axis)
    for found in axes.values():
        found.sort(key=lambda axis: float(np.linalg.norm(axis @ reduced)))
    n = len(group)
    if n == 2:
        yield _monoclinic(group[1] if np.trace(group[0]) == 3 else group[0], axes[2][0], reduced)
    elif n == 4:
        yield _orthorhombic(axes[2])
    elif n == 24:
        yield _named("cubic", "*", axes[4], {1: "P", 2: "I", 4: "F"})
    else:
        principal = axes[{6: 3, 8: 4, 12: 6}[n]][0]
        first = next(
            axis
            for axis in axes[2]
            if abs(axis @ reduced @ reduced.T @ principal) < 0.2 * _product(axis, principal, reduced)
        )
        turn = next(m for m in group if _ORDER_OF_TRACE[int(np.trace(m))] == (4 if n == 8 else 3))
        second = first @ turn
        if n == 8:
            yield _named("tetragonal", "c", [first, second, principal], {1: "P", 2: "I"})
        else:
            yield _hexagonal([first, second, principal])


def _hexagonal(axes: list[Integers]) -> tuple[Integers, Lattice]:
    basis, lattice = _named("hexagonal", "c", axes, {1: "P", 3: "H"})
    if lattice.centering == "H" and not _is_lattice_point(np.array([2, 1, 1]) / 3, basis):
        basis = np.diag([-1, -1, 1]) @ basis  # from the reverse to the obverse setting
    return basis, lattice


def _orthorhombic(axes: list[Integers]) -> tuple[Integers, Lattice]:
    basis, lattice = _named("orthorhombic", "*", axes, {1: "P", 2: "I", 4: "F"})
    if lattice.centering == "I":
        for alone in range(3):  # is a face centred instead? then the axis across it is c
            middle = np.full(3, 0.5)
            middle[alone] = 0.0
            if _is_lattice_point(middle, basis):
                rest = [axis for n, axis in enumerate(basis) if n != alone]
                return _named("orthorhombic", "*", [*rest, basis[alone]], {2: "C"})
    return basis, lattice


def _monoclinic(turn: Integers, unique: Integers, reduced: Matrix) -> tuple[Integers, Lattice]:
    """Axis b is the twofold one, a and c the shortest two across it, beta obtuse; a centred cell is given as C."""
    grid = np.array(list(itertools.product(range(-4, 5), repeat=3)), np.int64)
    across = grid[(grid @ turn == -grid).all(axis=1) & grid.any(axis=1)]
    across = across[np.argsort(np.linalg.norm(across @ reduced, axis=1), kind="stable")]
    first = across[0]
    second = next(axis for axis in across if np.cross(first, axis).any())
    if round(abs(np.linalg.det([first, unique, second]))) == 2:
        # the middle of two faces or of the cell is a lattice point: with x as a and z as c it is (x + b) / 2
        for x, z in (
            (first, second),
            (second, first),
            (first + second, first),
            (first - second, first),
            (first + second, second),
        ):
            if _is_lattice_point(np.array([0.5, 0.5, 0.0]), np.array([x, unique, z])):
                return _obtuse([x, unique, z], "C", reduced)
    return _obtuse([first, unique, second], "P", reduced)


def _obtuse(axes: list[Integers], centering: str, reduced: Matrix) -> tuple[Integers, Lattice]:
    a, b, c = axes
    if (a @ reduced) @ (c @ reduced) > 0:
        c = -c
    return _named("monoclinic", "b", [a, b, c], {1: centering, 2: centering}, turn_over=1)


def _named(
    kind: str, unique: str, axes: list[Integers], centerings: dict[int, str], turn_over: int = 2
) -> tuple[Integers, Lattice]:
    """Make the axes right-handed, and name the centring by how many lattice points the cell has."""
    basis = np.array(axes, np.int64)
    points = round(float(np.linalg.det(basis)))
    if points < 0:
        basis[turn_over] *= -1
    return basis, Lattice(kind, centerings.get(abs(points), "P"), unique)


def _is_lattice_point(fractions: NDArray[np.float64], basis: Integers) -> bool:
    indices = fractions @ basis
    return bool(np.abs(indices - np.rint(indices)).max() < 1e-6)


def _fixed(turn: Integers) -> Integers:
    """The shortest vector of indices that a rotation leaves as it is, its first index that is not 0 above 0."""
    grid = np.array(list(itertools.product(range(-3, 4), repeat=3)), np.int64)
    fixed = grid[(grid @ turn == grid).all(axis=1) & grid.any(axis=1)]
    shortest = fixed[np.argmin(np.abs(fixed).sum(axis=1))]
    return np.asarray(shortest * np.sign(shortest[np.flatnonzero(shortest)[0]]), np.int64)


def _product(one: Integers, other: Integers, reduced: Matrix) -> float:
    return float(np.linalg.norm(one @ reduced) * np.linalg.norm(other @ reduced))
