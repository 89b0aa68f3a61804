"""Unit cells: what they are, how they reduce, and what a lattice type restricts.

A basis is a float64 (3, 3) array whose **rows** are a, b, c in Angstrom, in the laboratory or in the standard setting (a along
x, b in the xy plane, c towards +z). Another basis of the same lattice is ``M @ basis``; a rotation R takes a basis to
``basis @ R.T``. Files that hold a cell are read in :mod:`stages.files.cell`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Rotations = NDArray[np.float64]
"""(n, 3, 3): matrices W such that ``W @ basis`` is the same basis, rotated."""

LATTICE_TYPES = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "rhombohedral", "hexagonal", "cubic")
CENTERINGS = "PABCIFRH"
WITH_UNIQUE_AXIS = ("monoclinic", "tetragonal", "hexagonal")
DEFAULT_TOLERANCE = (5.0, 5.0, 5.0, 1.5, 1.5, 1.5)
"""indexamajig's --tolerance: a, b, c in percent, alpha, beta, gamma in degrees."""


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


_ANY = Lattice()


@dataclass(frozen=True)
class UnitCell:
    """A unit cell: lengths in Angstrom, angles in radians, and its lattice type.

    >>> cell = UnitCell(79.1, 79.1, 37.9, *3 * [math.pi / 2], Lattice("tetragonal", "P", "c"))
    >>> round(cell.volume), len(rotations(cell))
    (237133, 8)
    """

    a: float
    b: float
    c: float
    alpha: float
    beta: float
    gamma: float
    lattice: Lattice = field(default_factory=Lattice)

    @property
    def parameters(self) -> tuple[float, float, float, float, float, float]:
        """a, b, c in Angstrom, alpha, beta, gamma in radians."""
        return self.a, self.b, self.c, self.alpha, self.beta, self.gamma

    @property
    def volume(self) -> float:
        """Volume in cubic Angstrom."""
        return float(np.linalg.det(self.real_space_angstrom))

    @property
    def real_space_angstrom(self) -> Matrix:
        """Rows a, b, c in the standard setting: a along x, b in the xy plane, c towards +z."""
        cos_a, cos_b, cos_g = math.cos(self.alpha), math.cos(self.beta), math.cos(self.gamma)
        sin_g = math.sin(self.gamma)
        y = (cos_a - cos_b * cos_g) / sin_g
        z = math.sqrt(max(0.0, 1 - cos_b * cos_b - y * y))
        rows = ((self.a, 0, 0), (self.b * cos_g, self.b * sin_g, 0), (self.c * cos_b, self.c * y, self.c * z))
        return np.array(rows, np.float64)

    @staticmethod
    def from_vectors(real_space_angstrom: Matrix, lattice: Lattice | None = None) -> UnitCell:
        """Return the cell of a basis, rows a, b, c."""
        return UnitCell(*parameters_of(real_space_angstrom), _ANY if lattice is None else lattice)

    def __str__(self) -> str:
        lengths = " ".join(f"{x:.2f}" for x in self.parameters[:3])
        angles = " ".join(f"{math.degrees(x):.2f}" for x in self.parameters[3:])
        return f"{self.lattice.lattice_type} {self.lattice.centering}, {lengths} A, {angles} deg"


def parameters_of(real_space_angstrom: Matrix) -> tuple[float, float, float, float, float, float]:
    """Return a, b, c and alpha, beta, gamma (radians) of a basis, rows a, b, c; an angle with a vector of length 0 is NaN.

    In plain numbers, as numpy takes ten times as long for so few.

    >>> *lengths, alpha, beta, gamma = parameters_of(np.array([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 4.0, 3.0]]))
    >>> lengths, math.degrees(alpha), math.degrees(beta), math.degrees(gamma)
    ([2.0, 3.0, 5.0], 36.86989764584401, 90.0, 90.0)
    >>> parameters_of(np.array([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0]]))[2:4]
    (0.0, nan)
    """
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = np.asarray(real_space_angstrom).tolist()
    a = math.sqrt(ax * ax + ay * ay + az * az)
    b = math.sqrt(bx * bx + by * by + bz * bz)
    c = math.sqrt(cx * cx + cy * cy + cz * cz)
    alpha = angle_of(bx * cx + by * cy + bz * cz, b * c)
    beta, gamma = angle_of(ax * cx + ay * cy + az * cz, a * c), angle_of(ax * bx + ay * by + az * bz, a * b)
    return a, b, c, alpha, beta, gamma


def angle_of(product: float, lengths: float) -> float:
    """Return the angle between two vectors, radians, of their product and that of their lengths; NaN if one has none."""
    return math.acos(min(max(product / lengths, -1.0), 1.0)) if lengths else math.nan


# --- the primitive, reduced cell ------------------------------------------------------------------------------------

_PRIMITIVE = {
    "P": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "A": ((1, 0, 0), (0, 1 / 2, -1 / 2), (0, 1 / 2, 1 / 2)),
    "B": ((1 / 2, 0, -1 / 2), (0, 1, 0), (1 / 2, 0, 1 / 2)),
    "C": ((1 / 2, -1 / 2, 0), (1 / 2, 1 / 2, 0), (0, 0, 1)),
    "I": ((-1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (1 / 2, 1 / 2, -1 / 2)),
    "F": ((0, 1 / 2, 1 / 2), (1 / 2, 0, 1 / 2), (1 / 2, 1 / 2, 0)),
    "R": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "H": ((2 / 3, 1 / 3, 1 / 3), (-1 / 3, 1 / 3, 1 / 3), (-1 / 3, -2 / 3, 1 / 3)),
}
"""Rows: a primitive basis in terms of the conventional one (H: obverse setting)."""


@dataclass(frozen=True, eq=False)
class Primitive:
    """The reduced primitive cell of a lattice.

    Attributes
    ----------
    real_space_angstrom
        (3, 3), right-handed, shortest vectors first, in the standard setting of the conventional cell.
    to_conventional
        Integer (3, 3): ``to_conventional @ primitive_basis`` is the conventional basis.
    """

    real_space_angstrom: Matrix
    to_conventional: NDArray[np.int64]


@lru_cache(maxsize=256)
def primitive(cell: UnitCell) -> Primitive:
    """Return the reduced primitive cell of a (perhaps centred) cell.

    >>> body = UnitCell(10, 10, 10, *3 * [math.pi / 2], Lattice("cubic", "I"))
    >>> reduced = primitive(body)
    >>> np.linalg.norm(reduced.real_space_angstrom, axis=1).round(3)
    array([8.66, 8.66, 8.66])
    >>> int(np.linalg.det(reduced.to_conventional).round())
    2
    """
    conventional = cell.real_space_angstrom
    reduced, _ = reduce_basis(np.array(_PRIMITIVE[cell.lattice.centering]) @ conventional)
    to_conventional = np.rint(conventional @ np.linalg.inv(reduced)).astype(np.int64)
    reduced = (np.linalg.inv(to_conventional) @ conventional).astype(np.float64)
    for array in (reduced, to_conventional):
        array.setflags(write=False)
    return Primitive(reduced, to_conventional)


def reduce_basis(basis: Matrix) -> tuple[Matrix, NDArray[np.int64]]:
    """Return a basis of the shortest vectors of the same lattice, and the unimodular matrix M that leads there.

    Minkowski's reduction in three dimensions (Semaev, 2001, https://doi.org/10.1007/3-540-44670-2_13): sort by length,
    reduce the second by the first (Gauss), then the third by the nearest point of the plane of the first two, until
    nothing becomes shorter. ``reduced == M @ basis``, det M = 1 if `basis` is right-handed, else -1.
    """
    change = np.eye(3, dtype=np.int64)
    if _is_reduced(basis):
        return np.array(basis, np.float64), change
    small = np.array(list(itertools.product((-1, 0, 1), repeat=2)), np.int64)
    for _ in range(200):
        order = np.argsort(np.linalg.norm(change @ basis, axis=1), kind="stable")
        change = change[order]
        a, b, c = change @ basis
        k = round(float(a @ b) / float(a @ a))
        if k and np.linalg.norm(b - k * a) < np.linalg.norm(b) * (1 - 1e-9):
            change[1] -= k * change[0]
            continue
        x, y = np.linalg.lstsq(np.array([a, b]).T, c, rcond=None)[0]
        near = np.rint([x, y]).astype(np.int64) + small
        rest = np.linalg.norm(c - near @ np.array([a, b]), axis=1)
        best = int(np.argmin(rest))
        if rest[best] < np.linalg.norm(c) * (1 - 1e-9):
            change[2] -= near[best] @ change[:2]
            continue
        break
    if np.linalg.det(change @ basis) < 0:
        change = -change
    return change @ basis, change


def is_right_handed(basis: Matrix) -> bool:
    """Whether the determinant of a basis is positive."""
    return volume_of(basis) > 0.0


def volume_of(basis: Matrix) -> float:
    """The determinant of a basis, rows a, b, c, in plain numbers.

    >>> volume_of(np.diag([2.0, 3.0, -4.0]))
    -24.0
    """
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = np.asarray(basis).tolist()
    return float(ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx))


def _is_reduced(basis: Matrix) -> bool:
    """Whether reduction changes nothing for sure: right-handed, sorted by length, no vector becomes shorter, nor hardly not."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = np.asarray(basis).tolist()
    aa, bb, cc = ax * ax + ay * ay + az * az, bx * bx + by * by + bz * bz, cx * cx + cy * cy + cz * cz
    ab, ac, bc = ax * bx + ay * by + az * bz, ax * cx + ay * cy + az * cz, bx * cx + by * cy + bz * cz
    det = aa * bb - ab * ab
    if not (0.0 < aa <= bb <= cc < math.inf and det > 0.0 and 2.0 * abs(ab) < aa):
        return False
    if not is_right_handed(basis):
        return False
    x, y = round((ac * bb - bc * ab) / det), round((bc * aa - ac * ab) / det)
    least = -1e-10 * cc
    return all(
        k * k * aa + l * l * bb + 2.0 * (k * l * ab - k * ac - l * bc) >= least  # |c - k a - l b|^2 less |c|^2
        for k in (x - 1, x, x + 1)
        for l in (y - 1, y, y + 1)  # noqa: E741
    )


# --- symmetry -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def rotations(cell: UnitCell, tolerance: float = 0.02) -> Rotations:
    """Return the proper rotations of the lattice in the conventional basis: (n, 3, 3), the identity first.

    ``W @ basis`` is the same lattice's basis, turned. All W are found whose metric agrees with the cell's to `tolerance`
    (of the lengths' product): the holohedry without inversion, of order 1, 2, 4, 6, 8, 12 or 24. Pseudo-symmetry within the
    tolerance counts.
    """
    reduced = primitive(cell)
    within = metric_rotations(reduced.real_space_angstrom, tolerance)
    to_conventional = reduced.to_conventional.astype(np.float64)
    parts = round(float(np.linalg.det(to_conventional)))  # the elements are multiples of 1 / parts
    found: Rotations = np.rint(parts * (to_conventional @ within @ np.linalg.inv(to_conventional))) / parts
    found.setflags(write=False)
    return found


def metric_rotations(reduced: Matrix, tolerance: float = 0.02) -> NDArray[np.int64]:
    """Return the integer matrices of determinant 1 that leave a reduced basis' metric unchanged within `tolerance`.

    Where the matrices within the tolerance are no group (a borderline pseudo-symmetry), the tolerance is lowered until
    they are.
    """
    candidates = near_rotations(reduced, tolerance)
    for n in range(len(candidates), 1, -1):
        group = {matrix.tobytes() for matrix in candidates[:n]}
        if n in (2, 4, 6, 8, 12, 24) and all(
            (x @ y).tobytes() in group for x, y in itertools.product(candidates[:n], repeat=2)
        ):
            return _identity_first(candidates[:n])
    return np.eye(3, dtype=np.int64)[None]


def near_rotations(reduced: Matrix, tolerance: float) -> NDArray[np.int64]:
    """Return the integer matrices that turn a reduced basis into one with nearly its metric, nearest first; no group.

    In a reduced basis their elements are -1, 0, 1. The misfit is the largest change of an element of the metric, as a
    fraction of the product of the two lengths.
    """
    small, vectors = _small_vectors()
    products = (small @ reduced) @ (small @ reduced).T
    rows = products.tolist()
    a, b, c = _IDENTITY
    aa, bb, cc, ab, ac, bc = rows[a][a], rows[b][b], rows[c][c], rows[a][b], rows[a][c], rows[b][c]
    s_ab, s_ac, s_bc = math.sqrt(aa * bb), math.sqrt(aa * cc), math.sqrt(bb * cc)
    squares = products.diagonal().tolist()
    firsts, seconds, thirds = (
        [(i, abs(square - own) / own) for i, square in enumerate(squares) if abs(square - own) <= tolerance * own]
        for own in (aa, bb, cc)
    )
    found = [(-1.0, _IDENTITY)]
    for i, of_i in firsts:
        for j, of_j in seconds:
            off_ab = abs(rows[i][j] - ab)
            if off_ab > tolerance * s_ab:
                continue
            for k, of_k in thirds:
                off_ac, off_bc = abs(rows[i][k] - ac), abs(rows[j][k] - bc)
                if off_ac > tolerance * s_ac or off_bc > tolerance * s_bc:
                    continue
                if _is_turn(vectors[i], vectors[j], vectors[k]) and (i, j, k) != _IDENTITY:
                    found.append((max(of_i, of_j, of_k, off_ab / s_ab, off_ac / s_ac, off_bc / s_bc), (i, j, k)))
    found.sort()
    matrices: NDArray[np.int64] = small.astype(np.int64)[np.array([which for _, which in found])]
    return matrices


def _identity_first(group: NDArray[np.int64]) -> NDArray[np.int64]:
    order = np.argsort(-np.trace(group, axis1=1, axis2=2), kind="stable")
    return np.ascontiguousarray(group[order])


@lru_cache(maxsize=1)
def _small_vectors() -> tuple[Matrix, list[tuple[int, int, int]]]:
    """All vectors of -1, 0, 1, as an array (27, 3) and as numbers."""
    vectors = [(h, k, l) for h, k, l in itertools.product((-1, 0, 1), repeat=3)]  # noqa: E741
    return np.array(vectors, np.float64), vectors


_IDENTITY = (22, 16, 14)
"""The places of (1, 0, 0), (0, 1, 0) and (0, 0, 1) among them."""


def _is_turn(u: tuple[int, int, int], v: tuple[int, int, int], w: tuple[int, int, int]) -> bool:
    """Whether rows have determinant 1 and the trace of a rotation of order 1, 2, 3, 4 or 6 (-1 to 3)."""
    det = u[0] * (v[1] * w[2] - v[2] * w[1]) + u[1] * (v[2] * w[0] - v[0] * w[2]) + u[2] * (v[0] * w[1] - v[1] * w[0])
    return det == 1 and u[0] + v[1] + w[2] >= -1


# --- Bravais restrictions -------------------------------------------------------------------------------------------

_TWO_A = ((1, 0, 0), (0, -1, 0), (0, 0, -1))
_TWO_B = ((-1, 0, 0), (0, 1, 0), (0, 0, -1))
_THREE_DIAGONAL = ((0, 1, 0), (0, 0, 1), (1, 0, 0))
_TWO_DIAGONAL = ((0, -1, 0), (-1, 0, 0), (0, 0, -1))
_FOUR_C = ((0, 1, 0), (-1, 0, 0), (0, 0, 1))
_SIX_C = ((1, 1, 0), (-1, 0, 0), (0, 0, 1))
_GENERATORS = {
    "triclinic": (),
    "monoclinic": (((-1, 0, 0), (0, -1, 0), (0, 0, 1)),),  # about c; turned to the unique axis below
    "orthorhombic": (_TWO_A, _TWO_B),
    "tetragonal": (_FOUR_C, _TWO_A),
    "rhombohedral": (_THREE_DIAGONAL, _TWO_DIAGONAL),
    "hexagonal": (_SIX_C, _TWO_DIAGONAL),
    "cubic": (_THREE_DIAGONAL, _FOUR_C),
}


@lru_cache(maxsize=64)
def lattice_rotations(lattice: Lattice) -> Rotations:
    """Return the proper rotations that the metric of this lattice type has, in the conventional basis: (n, 3, 3).

    >>> [len(lattice_rotations(Lattice(t, "P", "c"))) for t in LATTICE_TYPES]
    [1, 2, 4, 8, 6, 12, 24]
    """
    shift = {"a": 1, "b": 2}.get(lattice.unique_axis, 0)  # cyclic: axis c becomes axis a, or b
    generators = [np.array(g, np.int64) for g in _GENERATORS[lattice.lattice_type]]
    generators = [np.roll(g, (shift, shift), (0, 1)) for g in generators]
    group = {np.eye(3, dtype=np.int64).tobytes(): np.eye(3, dtype=np.int64)}
    fresh = list(group.values())
    while fresh:
        made = {(x @ g).tobytes(): x @ g for x in fresh for g in generators}
        fresh = [matrix for key, matrix in made.items() if key not in group]
        group.update(made)
    found: Rotations = _identity_first(np.array(list(group.values()), np.int64)).astype(np.float64)
    found.setflags(write=False)
    return found


def impose_bravais(real_space_angstrom: Matrix, lattice: Lattice) -> Matrix:
    """Return the nearest basis in the same orientation whose cell obeys the lattice type (a = b, angles of 90 ...).

    The metric tensor G = A A^T is averaged over the lattice type's rotations, ``mean(W G W^T)``: the projection on the
    metrics with that symmetry. The symmetric square root takes A there without turning it.

    >>> real = np.diag([50.0, 52.0, 70.0])
    >>> impose_bravais(real, Lattice("tetragonal", "P", "c")).round(3).diagonal()
    array([51.01, 51.01, 70.  ])
    """
    averaged = averaged_metric(real_space_angstrom @ real_space_angstrom.T, lattice)
    # any basis with the averaged metric, then turned onto the given one
    return nearest_rotation(np.asarray(np.linalg.cholesky(averaged), np.float64), real_space_angstrom)[0]


def averaged_metric(metric: Matrix, lattice: Lattice) -> Matrix:
    """Return the metric G, averaged over a lattice type's rotations: ``mean(W G W^T)``."""
    return np.asarray(_averaging(lattice) @ metric.ravel(), np.float64).reshape(3, 3)


@lru_cache(maxsize=64)
def _averaging(lattice: Lattice) -> Matrix:
    """What makes of the nine elements of a metric those of the averaged one, (9, 9)."""
    return np.asarray(np.mean([np.kron(w, w) for w in lattice_rotations(lattice)], axis=0), np.float64)


def nearest_rotation(basis: Matrix, onto: Matrix) -> tuple[Matrix, Matrix]:
    """Turn a basis as near to another as it goes: return ``basis @ R.T`` and R, the proper rotation.

    R is the orthogonal factor of the strain ``basis^-1 @ onto``, so that long and short axes count alike.
    """
    u, _, vt = np.linalg.svd(np.linalg.solve(basis, onto))
    middle = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation_t = u @ middle @ vt
    return basis @ rotation_t, rotation_t.T


# --- comparison -----------------------------------------------------------------------------------------------------


def misorientation(real_a: Matrix, real_b: Matrix, cell: UnitCell | Rotations) -> float:
    """Return the angle in radians between two orientations of one lattice, up to the lattice's proper rotations.

    Parameters
    ----------
    real_a, real_b
        (3, 3), rows a, b, c in the same setting; small differences of the cells do not matter.
    cell
        The cell, whose :func:`rotations` are taken, or those rotations.

    >>> cell = UnitCell(79.1, 79.1, 37.9, *3 * [math.pi / 2], Lattice("tetragonal", "P", "c"))
    >>> real = cell.real_space_angstrom
    >>> turned = real @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    >>> round(misorientation(real, turned, cell), 9)
    0.0
    """
    group = rotations(cell) if isinstance(cell, UnitCell) else np.asarray(cell, np.float64)
    strain = np.linalg.solve(group @ real_a, np.broadcast_to(real_b, group.shape))
    u, _, vt = np.linalg.svd(strain)
    turned = u @ vt
    # |R - 1|^2 = 8 sin^2(angle / 2); an improper R is no rotation between the two
    sine = np.linalg.norm(turned - np.eye(3), axis=(1, 2)) / math.sqrt(8)
    angles = 2 * np.arcsin(np.clip(sine, 0, 1))
    angles[np.linalg.det(turned) < 0] = math.pi
    return float(angles.min())


def agree(found: UnitCell, reference: UnitCell, tolerance: tuple[float, ...] = DEFAULT_TOLERANCE) -> bool:
    """Tell whether a cell agrees with a reference as indexamajig's ``--tolerance`` asks: percent and degrees.

    >>> lysozyme = UnitCell(79.1, 79.1, 37.9, *3 * [math.pi / 2])
    >>> agree(UnitCell(79.9, 78.0, 38.2, *3 * [math.radians(90.5)]), lysozyme)
    True
    >>> agree(UnitCell(85.0, 78.0, 38.2, *3 * [math.radians(90.5)]), lysozyme)
    False
    """
    return are_near(found.parameters, reference.parameters, tolerance)


def are_near(found: tuple[float, ...], reference: tuple[float, ...], tolerance: tuple[float, ...]) -> bool:
    """Whether the parameters of two cells, in Angstrom and radians, agree as :func:`agree` asks."""
    return (
        abs(found[0] - reference[0]) <= tolerance[0] / 100 * reference[0]
        and abs(found[1] - reference[1]) <= tolerance[1] / 100 * reference[1]
        and abs(found[2] - reference[2]) <= tolerance[2] / 100 * reference[2]
        and abs(found[3] - reference[3]) <= math.radians(tolerance[3])
        and abs(found[4] - reference[4]) <= math.radians(tolerance[4])
        and abs(found[5] - reference[5]) <= math.radians(tolerance[5])
    )
