"""From a primitive cell with errors to its Bravais type and the conventional cell.

A lattice's rotations map its reduced basis onto bases with the same metric, and are integer matrices W of elements -1, 0, 1:
``W @ basis`` is the basis turned. A measured cell has a rotation if its metric changes under W by less than its error
(Le Page, 1982, https://doi.org/10.1107/S0021889882011959, does the same with two-fold axes alone). The rotations without
inversion of a lattice are 1, 2, 4, 6, 8, 12 or 24, which names the lattice type; their axes are the conventional axes, integer
combinations of the reduced basis (``u W = u``), and the volume of the conventional cell in primitive cells, with what lies
inside it, names the centring. Settings are those of CrystFEL's cell files and the International Tables, A, 3.1: unique axis
b, C or I, whichever is less oblique, for monoclinic; unique axis c, P or I, for tetragonal; C, a < b, for a one-face-centred
orthorhombic lattice, a < b < c otherwise; hexagonal axes, obverse, H, for rhombohedral.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stages.lattices.cell import (
    Lattice,
    Matrix,
    UnitCell,
    averaged_metric,
    impose_bravais,
    is_right_handed,
    metric_rotations,
    near_rotations,
    reduce_basis,
)

Integers = NDArray[np.int64]
Axis = tuple[int, int, int]

TOLERANCE = 0.02
"""How far the metric may be off, as a fraction of the lengths' product: 1 % of a length, or 0.6 degrees."""
PSEUDO = 0.05
"""Beyond that no symmetry of a still is thought of: 2.5 % of a length, or 1.4 degrees."""


@dataclass(frozen=True, eq=False)
class Bravais:
    """A lattice type that a cell may have.

    Attributes
    ----------
    lattice
        Lattice type, centring and unique axis.
    to_conventional
        int64 (3, 3): ``to_conventional @ basis`` is the conventional basis, for the basis that was asked about.
    real_space_angstrom
        float64 (3, 3), the conventional basis, right-handed, as measured.
    misfit
        The largest change of an element of the conventional metric that the lattice type asks for, as a fraction of the
        product of the two lengths.
    """

    lattice: Lattice
    to_conventional: Integers
    real_space_angstrom: Matrix
    misfit: float

    @property
    def cell(self) -> UnitCell:
        """The conventional cell with the lattice type's restrictions imposed."""
        return UnitCell.from_vectors(impose_bravais(self.real_space_angstrom, self.lattice), self.lattice)


def bravais_of(real_space_angstrom: Matrix, tolerance: float = TOLERANCE) -> Bravais:
    """Return the highest symmetry that a primitive cell has within a tolerance.

    Parameters
    ----------
    real_space_angstrom
        (3, 3), rows are any primitive basis of the lattice.
    tolerance
        How far the metric may be off. For a cell with standard errors of s of each length and angle (radians), 6 s.

    >>> body_centred = 39 * np.array([[-1.0, 1, 1], [1, -1, 1], [1, 1, -1.01]])
    >>> found = bravais_of(body_centred)
    >>> found.lattice.lattice_type, found.lattice.centering, round(found.cell.a, 1)
    ('cubic', 'I', 78.0)
    """
    reduced, change = reduce_basis(np.asarray(real_space_angstrom, np.float64))
    return bravais_of_group(reduced, change, metric_rotations(reduced, tolerance))


def bravais_types(real_space_angstrom: Matrix, tolerance: float = PSEUDO) -> Iterator[Bravais]:
    """Yield the lattice types that a primitive cell may have, each once, the highest symmetry first, triclinic last.

    >>> [b.lattice.lattice_type for b in bravais_types(np.diag([50.0, 50.3, 80.0]))]
    ['tetragonal', 'orthorhombic', 'monoclinic', 'triclinic']
    """
    reduced, change = reduce_basis(np.asarray(real_space_angstrom, np.float64))
    candidates = near_rotations(reduced, tolerance)
    for n in (24, 12, 8, 6, 4, 2, 1):
        group = candidates[:n]
        if len(group) == n and is_group(group):
            yield bravais_of_group(reduced, change, group)


def is_group(matrices: Integers) -> bool:
    """Whether the product of any two of the matrices is among them."""
    return _are_group(frozenset(matrix.tobytes() for matrix in matrices))


@lru_cache(maxsize=512)
def _are_group(known: frozenset[bytes]) -> bool:
    matrices = np.array([np.frombuffer(matrix, np.int64).reshape(3, 3) for matrix in known])
    products = matrices[:, None] @ matrices[None]
    return all(product.tobytes() in known for product in products.reshape(-1, 3, 3))


def bravais_of_group(reduced: Matrix, change: Integers, group: Integers) -> Bravais:
    """Return the lattice type of a basis with these rotations, the identity first; `change` has led to it."""
    axes, lattice = _CONVENTIONAL[len(group)](reduced, group)
    real = axes @ reduced
    if not is_right_handed(real):
        axes, real = -axes, -real
    return Bravais(lattice, np.asarray(axes @ change, np.int64), real, misfit_of(real, lattice))


def misfit_of(real_space_angstrom: Matrix, lattice: Lattice) -> float:
    """Return the largest change of the metric that a lattice type asks for, as a fraction of the product of the lengths."""
    metric = real_space_angstrom @ real_space_angstrom.T
    (off_aa, off_ab, off_ac), (_, off_bb, off_bc), (_, _, off_cc) = (averaged_metric(metric, lattice) - metric).tolist()
    a, b, c = (math.sqrt(square) for square in metric.diagonal().tolist())
    off = (off_aa / (a * a), off_bb / (b * b), off_cc / (c * c), off_ab / (a * b), off_ac / (a * c), off_bc / (b * c))
    return float(max(abs(one) for one in off))


# --- conventional axes, as integer combinations of the reduced basis ------------------------------------------------


def _axes_of_order(group: Integers, order: int) -> list[Axis]:
    """Return the axes of the rotations of an order (2, 3, 4, 6; of trace -1, 0, 1, 2): the shortest integer u with u W = u."""
    wanted = {2: -1, 3: 0, 4: 1, 6: 2}[order]
    found: list[Axis] = []
    for matrix in group:
        trace, u = _trace_and_axis(matrix.tobytes())
        if trace == wanted and u not in found and (-u[0], -u[1], -u[2]) not in found:
            found.append(u)
    return found


@lru_cache(maxsize=4096)
def _trace_and_axis(rotation: bytes) -> tuple[int, Axis]:
    """Return the trace of a rotation W, and the shortest integer u with u W = u.

    It is a row of the sum of W's powers, each of which is along u.
    """
    matrix = np.frombuffer(rotation, np.int64).reshape(3, 3)
    total, power = np.zeros((3, 3), np.int64), np.eye(3, dtype=np.int64)
    for _ in range(12):
        total += power
        power = power @ matrix
    u = total[int(np.argmax(np.abs(total).max(axis=1)))]
    h, k, l = (u // np.gcd.reduce(u)).tolist()  # noqa: E741
    return int(np.trace(matrix)), (h, k, l)


def _across(reduced: Matrix, matrix: Integers) -> Integers:
    """Return the integer vectors that a two-fold rotation turns over (v W = -v), of small indices, shortest first, (n, 3)."""
    across = _turned_over(matrix.tobytes())
    shortest_first: Integers = across[np.argsort(_lengths(across, reduced), kind="stable")]
    return shortest_first


@lru_cache(maxsize=256)
def _turned_over(rotation: bytes) -> Integers:
    """Return the integer vectors that a two-fold rotation turns over, of indices up to 3 without a common factor, (n, 3)."""
    matrix = np.frombuffer(rotation, np.int64).reshape(3, 3)
    small = np.array(list(itertools.product(range(-3, 4), repeat=3)), np.int64)
    across = small[(small @ matrix == -small).all(axis=1) & small.any(axis=1)]
    primitive: Integers = across[np.gcd.reduce(across, axis=1) == 1]
    primitive.setflags(write=False)
    return primitive


def _by_length(reduced: Matrix, axes: list[Axis]) -> list[Axis]:
    lengths = _lengths(np.array(axes), reduced).tolist()
    return [axes[i] for i in sorted(range(len(axes)), key=lengths.__getitem__)]


def _lengths(vectors: Integers, reduced: Matrix) -> Matrix:
    return np.asarray(np.sqrt(np.square(vectors @ reduced).sum(axis=1)), np.float64)


def _contains(axes: Integers, fraction: tuple[float, float, float]) -> bool:
    """Whether a fraction of the conventional axes is a lattice vector."""
    vector = np.array(fraction) @ axes
    return bool(np.abs(vector - np.rint(vector)).max() < 1e-6)


_CENTRED = {"A": (0, 0.5, 0.5), "B": (0.5, 0, 0.5), "C": (0.5, 0.5, 0), "I": (0.5, 0.5, 0.5)}


def centring_of(axes: Integers) -> str:
    """Return P, A, B, C, I or F, by what lies within a cell with these axes, integer combinations of a primitive basis."""
    return _centring_of(np.ascontiguousarray(axes, np.int64).tobytes())


@lru_cache(maxsize=4096)
def _centring_of(conventional: bytes) -> str:
    axes = np.frombuffer(conventional, np.int64).reshape(3, 3)
    inside = [letter for letter, fraction in _CENTRED.items() if _contains(axes, fraction)]
    return inside[0] if len(inside) == 1 else ("F" if set(inside) >= set("ABC") else "P")


def _triclinic(reduced: Matrix, _group: Integers) -> tuple[Integers, Lattice]:
    """The reduced basis, its angles all acute or none (the two types of Niggli's cells)."""
    (_, a_b, a_c), (_, _, b_c), _ = (reduced @ reduced.T).tolist()
    for x, y, z in itertools.product((1, -1), repeat=3):
        are_acute = y * z * b_c > 0, x * z * a_c > 0, x * y * a_b > 0
        if all(are_acute) or not any(are_acute):
            break
    return np.diag([x, y, z]), Lattice("triclinic", "P")


def _monoclinic(reduced: Matrix, group: Integers) -> tuple[Integers, Lattice]:
    """Unique axis b; of the bases of the net across it the least oblique one, in which a centred cell is C or I."""
    (b,) = _axes_of_order(group, 2)
    net = _across(reduced, group[1])[:16]
    vectors, sizes = net @ reduced, _lengths(net, reduced)
    cosines, lengths = vectors @ vectors.T / np.outer(sizes, sizes), sizes.tolist()
    volumes = net @ np.array([[0, -b[2], b[1]], [b[2], 0, -b[0]], [-b[1], b[0], 0]]) @ net.T  # u x b . v
    best: tuple[float, Integers, str] | None = None
    fits = ((np.abs(volumes) == 1) | (np.abs(volumes) == 2)) & (cosines <= 0)  # beta is obtuse
    for i, j in zip(*(index.tolist() for index in fits.nonzero()), strict=True):
        oblique = -float(cosines[i, j])
        if best is not None and oblique >= best[0] - 1e-9:
            continue
        axes = np.array([net[i], b, net[j]])
        centring = centring_of(axes)
        if abs(volumes[i, j]) != (1 if centring == "P" else 2) or centring not in "PCI":
            continue
        if centring != "C" and lengths[i] > lengths[j]:
            continue  # a is the shorter one where the choice is free
        oblique += 1e-3 if centring == "I" else 0.0
        if best is None or oblique < best[0] - 1e-9:
            best = (oblique, axes, centring)
    if best is None:
        raise ValueError(f"no basis of small indices across the two-fold axis of {reduced}; is the cell reduced?")
    axes = best[1]
    if not is_right_handed(axes @ reduced):
        axes = axes * np.array([[1], [-1], [1]])
    return axes, Lattice("monoclinic", best[2], "b")


def _orthorhombic(reduced: Matrix, group: Integers) -> tuple[Integers, Lattice]:
    axes = np.array(_by_length(reduced, _axes_of_order(group, 2)))
    centring = centring_of(axes)
    if centring in "AB":  # the axis across the centred face becomes c
        unique = "AB".index(centring)
        axes = np.array([*(axes[i] for i in range(3) if i != unique), axes[unique]])
        centring = "C"
    return axes, Lattice("orthorhombic", centring)


def _tetragonal(reduced: Matrix, group: Integers) -> tuple[Integers, Lattice]:
    (c,) = _axes_of_order(group, 4)
    a, b = _right_angle(reduced, _across_axis(reduced, group, c))
    axes = np.array([a, b, c])
    return axes, Lattice("tetragonal", centring_of(axes), "c")


def _across_axis(reduced: Matrix, group: Integers, c: Axis) -> list[Axis]:
    """Return the two-fold axes that are not c, shortest first."""
    along = (c, (-c[0], -c[1], -c[2]))
    return _by_length(reduced, [u for u in _axes_of_order(group, 2) if u not in along])


def _right_angle(reduced: Matrix, axes: list[Axis]) -> tuple[Axis, Axis]:
    """Return the first axis, and the one that is nearest to a right angle with it."""
    first, *others = (np.array(axes) @ reduced).tolist()
    cosines = [abs(_dot(first, v)) / math.sqrt(_dot(v, v)) for v in others]
    return axes[0], axes[1 + cosines.index(min(cosines))]


def _dot(u: list[float], v: list[float]) -> float:
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


def _three_or_sixfold(reduced: Matrix, group: Integers, c: Axis) -> Integers:
    """Return axes a, b at 120 degrees, and c, right-handed."""
    axes = np.array([*_across_axis(reduced, group, c)[:2], c])
    vectors = axes @ reduced
    if float(vectors[0] @ vectors[1]) > 0:
        axes[1] = -axes[1]
    if not is_right_handed(axes @ reduced):
        axes[2] = -axes[2]
    return axes


def _rhombohedral(reduced: Matrix, group: Integers) -> tuple[Integers, Lattice]:
    (c,) = _axes_of_order(group, 3)
    axes = _three_or_sixfold(reduced, group, c)
    if not _contains(axes, (2 / 3, 1 / 3, 1 / 3)):  # reverse setting: turn by 180 degrees about c
        axes = axes * np.array([[-1], [-1], [1]])
    return axes, Lattice("hexagonal", "H", "c")


def _hexagonal(reduced: Matrix, group: Integers) -> tuple[Integers, Lattice]:
    (c,) = _axes_of_order(group, 6)
    return _three_or_sixfold(reduced, group, c), Lattice("hexagonal", "P", "c")


def _cubic(_reduced: Matrix, group: Integers) -> tuple[Integers, Lattice]:
    axes = np.array(_axes_of_order(group, 4))
    return axes, Lattice("cubic", centring_of(axes))


_CONVENTIONAL = {
    1: _triclinic,
    2: _monoclinic,
    4: _orthorhombic,
    6: _rhombohedral,
    8: _tetragonal,
    12: _hexagonal,
    24: _cubic,
}
