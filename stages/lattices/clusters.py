"""Cells that are one lattice, gathered as they come: what cell_explorer's user does with the mouse.

A crystal's cell is known to a few parts in a hundred at worst, and may be expressed in any basis. Each comes as a reduced
primitive basis; :class:`stages.lattices.setting.Setting` expresses it in the axes of a cluster. It joins the largest
cluster from whose mean it differs by no more than a tolerance in each length and angle, and otherwise begins one of its own.
Means are taken anew as a cluster grows, and clusters whose means have come to agree are united.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.lattices.cell import angle_of
from stages.lattices.setting import Setting

Matrix = NDArray[np.float64]

MOST_CLUSTERS = 40
"""Cells that agree with nothing begin clusters; the smallest, oldest are forgotten and only counted."""

_GROWTH = 1.25
"""A cluster's mean is taken anew when it has grown by this factor."""

_OUTLIERS = 4.0
"""Cells further from the median than so many spreads are left out of the mean."""


@dataclass(frozen=True, eq=False)
class Mean:
    """What the crystals of a cluster have in common, in the axes of some basis.

    Attributes
    ----------
    parameters, spread
        a, b, c in Angstrom, alpha, beta, gamma in degrees, of the mean; and the standard deviation of one crystal.
    num_crystals, num_kept
        Crystals of the cluster, and those of them that the mean is made of.
    """

    parameters: NDArray[np.float64]
    spread: NDArray[np.float64]
    num_crystals: int
    num_kept: int

    @property
    def error(self) -> NDArray[np.float64]:
        """Standard error of the mean."""
        return np.asarray(self.spread / np.sqrt(max(1, self.num_kept)))

    @property
    def basis(self) -> Matrix:
        """The mean cell, (3, 3), rows a, b, c in the standard setting."""
        return basis_of(self.parameters)


class Cluster:
    """Crystals of one lattice, expressed in the axes of `basis`, their mean.

    A member is kept as six numbers: the diagonal of its metric, then b.c, a.c, a.b, in square Angstrom.
    """

    def __init__(self, basis: Matrix) -> None:
        self._metrics: array[float] = array("d")
        self._next_mean = 2
        self._mean: Mean | None = None
        self._put(basis)

    def __len__(self) -> int:
        return len(self._metrics) // 6

    def _put(self, basis: Matrix) -> None:
        self.basis = basis
        self._parameters = _plain_parameters(basis @ basis.T)
        self._lengths = sorted(self._parameters[:3])
        self._setting: Setting | None = None

    @property
    def setting(self) -> Setting:
        """Finds these axes in other bases; made when it is first needed, since most cells that agree with none need none."""
        if self._setting is None:
            self._setting = Setting.of(self.basis)
        return self._setting

    def may_be(self, lengths: list[float], length: float) -> bool:
        """Whether the lengths of a reduced basis, sorted, are near enough: they are the lattice's, whatever the basis."""
        return all(abs(x - y) <= length * y for x, y in zip(lengths, self._lengths, strict=True))

    def find(self, reduced: Matrix, length: float, angle_deg: float) -> tuple[Matrix, Matrix] | None:
        """Return change of basis and metric of a reduced basis in these axes; None if it differs by more than that."""
        change, metric = self.setting.find(reduced)
        pairs = list(zip(_plain_parameters(metric), self._parameters, strict=True))
        near = all(abs(x - y) <= length * y for x, y in pairs[:3]) and all(
            abs(x - y) <= angle_deg for x, y in pairs[3:]
        )
        return (change, metric) if near else None

    def add(self, metric: Matrix) -> bool:
        """Add a member by its metric in these axes; True when it is time to take the mean anew."""
        self._metrics.extend(_packed(metric))
        return len(self) >= self._next_mean

    def take_over(self, other: Cluster, change: Matrix) -> None:
        """Take the members of another cluster, of whose axes ``change @ basis`` are these."""
        for metric in change @ other.metrics() @ change.T:
            self._metrics.extend(_packed(metric))

    def metrics(self) -> Matrix:
        """The members' metrics, (n, 3, 3)."""
        return _unpacked(np.frombuffer(self._metrics, np.float64).reshape(-1, 6))

    def mean(self, change: Matrix | NDArray[np.int64] | None = None) -> Mean:
        """Average the members, in the axes ``change @ basis``; without outliers."""
        if change is None and self._mean is not None and self._mean.num_crystals == len(self):
            return self._mean
        metrics = self.metrics()
        mean = mean_of(parameters_of(metrics if change is None else change @ metrics @ change.T))
        if change is None:
            self._mean = mean
        return mean

    def centre(self) -> None:
        """Take the mean anew."""
        self._put(self.mean().basis)
        self._next_mean = max(len(self) + 1, int(len(self) * _GROWTH))


class Clusters:
    """All clusters of a run.

    Parameters
    ----------
    length_percent, angle_deg
        By how much a crystal may differ from the mean of its cluster, in each length and angle of the reduced cell.
    """

    def __init__(self, length_percent: float, angle_deg: float) -> None:
        self._length = length_percent / 100
        self._angle_deg = angle_deg
        self._clusters: list[Cluster] = []
        self.num_crystals = 0

    def add(self, reduced: Matrix) -> None:
        """Take a crystal, as a reduced primitive basis (3, 3), rows in Angstrom."""
        self.num_crystals += 1
        lengths = sorted(math.hypot(*vector) for vector in reduced.tolist())
        for n, cluster in enumerate(self._clusters):
            if not cluster.may_be(lengths, self._length):
                continue
            found = cluster.find(reduced, self._length, self._angle_deg)
            if found is None:
                continue
            if cluster.add(found[1]):
                cluster.centre()
                self._unite(cluster)
            elif n and len(cluster) > len(self._clusters[n - 1]):
                self._sort()
            return
        cluster = Cluster(reduced)
        cluster.add(reduced @ reduced.T)
        self._clusters.append(cluster)
        if len(self._clusters) > MOST_CLUSTERS:
            smallest = len(self._clusters[-2])
            oldest = next(n for n, one in enumerate(self._clusters) if len(one) <= smallest)
            del self._clusters[oldest]

    def ranked(self) -> list[Cluster]:
        """The clusters, the largest first."""
        self._sort()
        return list(self._clusters)

    def _unite(self, cluster: Cluster) -> None:
        """Take over the members of clusters whose means agree with this one's."""
        for other in [one for one in self._clusters if one is not cluster]:
            lengths = sorted(np.linalg.norm(other.basis, axis=1).tolist())
            if cluster.may_be(lengths, self._length):
                found = cluster.find(other.basis, self._length, self._angle_deg)
                if found is not None:
                    cluster.take_over(other, found[0])
                    self._clusters.remove(other)
        self._sort()

    def _sort(self) -> None:
        self._clusters.sort(key=len, reverse=True)  # stable: of equal ones the oldest is first


def mean_of(parameters: NDArray[np.float64]) -> Mean:
    """Average the cells of a cluster (n, 6) without outliers, which are judged by the median absolute deviation.

    >>> cells = np.array([[50, 60, 70, 90, 90, 90.0]] * 9 + [[51, 60, 70, 90, 90, 90.0]])
    >>> mean = mean_of(cells)
    >>> float(mean.parameters[0]), mean.num_kept
    (50.0, 9)
    """
    off = np.abs(parameters - np.median(parameters, axis=0))
    spread = 1.4826 * np.median(off, axis=0)
    near = off <= np.maximum(_OUTLIERS * spread, 1e-6 * np.abs(parameters[0]))
    kept = parameters[near.all(axis=1)] if near.all(axis=1).any() else parameters
    deviation = kept.std(axis=0, ddof=1) if len(kept) > 1 else np.full(6, np.nan)
    return Mean(kept.mean(axis=0), deviation, len(parameters), len(kept))


def parameters_of(metrics: Matrix) -> NDArray[np.float64]:
    """Return a, b, c in Angstrom and alpha, beta, gamma in degrees of metrics (n, 3, 3), as (n, 6)."""
    lengths = np.sqrt(metrics[:, [0, 1, 2], [0, 1, 2]])
    products = lengths[:, [1, 0, 0]] * lengths[:, [2, 2, 1]]
    cosines = np.clip(metrics[:, [1, 0, 0], [2, 2, 1]] / products, -1, 1)
    return np.hstack([lengths, np.degrees(np.arccos(cosines))])


def _plain_parameters(metric: Matrix) -> list[float]:
    """The same of one metric, in plain numbers: numpy takes ten times as long for so few."""
    (aa, ab, ac), (_, bb, bc), (_, _, cc) = metric.tolist()
    a, b, c = math.sqrt(aa), math.sqrt(bb), math.sqrt(cc)
    angles = angle_of(bc, b * c), angle_of(ac, a * c), angle_of(ab, a * b)
    return [a, b, c, *map(math.degrees, angles)]


def basis_of(parameters: NDArray[np.float64]) -> Matrix:
    """Return the basis (3, 3) of six parameters in Angstrom and degrees, in the standard setting."""
    a, b, c = parameters[:3]
    al, be, ga = np.cos(np.radians(parameters[3:]))
    metric = np.array(
        [[a * a, a * b * ga, a * c * be], [a * b * ga, b * b, b * c * al], [a * c * be, b * c * al, c * c]]
    )
    return np.asarray(np.linalg.cholesky(metric), np.float64)


def _packed(metric: Matrix) -> list[float]:
    (aa, ab, ac), (_, bb, bc), (_, _, cc) = metric.tolist()
    return [aa, bb, cc, bc, ac, ab]


def _unpacked(packed: Matrix) -> Matrix:
    metrics = np.empty((len(packed), 3, 3))
    for n, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        metrics[:, i, j] = metrics[:, j, i] = packed[:, n]
    return metrics
