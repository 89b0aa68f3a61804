"""What a stream's crystals say before they are merged: of which cells they are, and whether some are there twice."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.lattices.cell import Lattice, UnitCell
from stages.lattices.clusters import Cluster, Clusters, parameters_of
from stages.lattices.restrictions import could_be
from stages.lattices.setting import reduced_primitive
from stages.merging.point_group import PointGroup
from stages.merging.stream_crystals import StreamedCrystal

Floats = NDArray[np.float64]

_LENGTH_PERCENT, _ANGLE_DEG = 3.0, 2.0
"""Cells of one sample differ by no more."""
_SHARE, _FEWEST = 0.05, 5
"""A cell that so many crystals have, and such a part of them, is another sample's."""
_ALIKE, _ALIKE_DEG, _ERRORS = 0.005, 0.5, 5.0
"""A point group is contradicted by axes that differ by more than this part, and angles that are off by more, if that is more
than so many errors of the mean."""

_LAUE = {
    "triclinic": ("-1",),
    "monoclinic": ("2/m",),
    "orthorhombic": ("mmm",),
    "tetragonal": ("4/m", "4/mmm"),
    "rhombohedral": ("-3_R", "-3m_R"),
    "hexagonal": ("-3_H", "-31m_H", "-3m1_H", "6/m", "6/mmm"),
    "cubic": ("m-3", "m-3m"),
}
"""Point groups, with Friedel's law, that a lattice of this type may have."""


@dataclass
class Twice:
    """Finds crystals that are there twice, with the same reflections and intensities, and frames that two streams have."""

    num_alike: int = 0
    num_frames: int = 0
    _lists: set[bytes] = field(default_factory=set)
    _frames: dict[str, int] = field(default_factory=dict)
    _stream: int = 0

    def next_stream(self) -> None:
        """Another stream begins."""
        self._stream += 1

    def is_new(self, crystal: StreamedCrystal) -> bool:
        """Return whether a crystal is here for the first time."""
        if not self.is_new_list(crystal.hkl, crystal.intensity):
            return False
        first = self._frames.setdefault(crystal.frame, self._stream)
        if first != self._stream and crystal.frame.strip():
            self.num_frames += 1  # names are no proof: runs that name no frames count them alike
        return True

    def is_new_list(self, indices: NDArray[np.integer[Any]], intensity: Floats) -> bool:
        """Return whether a list of reflections is here for the first time; one without intensities always is."""
        if not intensity.any():
            return True
        digest = hashlib.blake2b(indices.tobytes() + intensity.tobytes(), digest_size=16).digest()
        if digest in self._lists:
            self.num_alike += 1
            return False
        self._lists.add(digest)
        return True

    def lines(self, keep: str = "--keep-duplicates") -> Iterator[str]:
        """Say what was left out, and the name of the option that keeps it."""
        if self.num_alike:
            yield (
                f"{self.num_alike} crystals are there twice, with the same intensities, and were left out once: "
                f"both halves of the data would have had them, and CC1/2 would be too good ({keep} merges all)"
            )
        if self.num_frames:
            yield (
                f"{self.num_frames} crystals are of frames whose file and event an earlier stream has, too, with "
                "other intensities: if these are the same frames, processed twice, merge only one of the streams"
            )


class Cells:
    """Gathers the cells of crystals; the largest cluster is the sample, and large ones beside it are others."""

    def __init__(self) -> None:
        self._clusters = Clusters(_LENGTH_PERCENT, _ANGLE_DEG)
        self._parameters: list[Floats] = []
        self._reduced: list[Floats] = []

    def add(self, real_space_angstrom: Floats, centring: str) -> None:
        """Take a crystal's conventional cell into account; one that spans none counts as of no cell."""
        good = np.isfinite(real_space_angstrom).all() and abs(float(np.linalg.det(real_space_angstrom))) > 1.0
        if not good:
            self._reduced.append(np.full((3, 3), np.nan))
            self._parameters.append(np.full(6, np.nan))
            return
        reduced = reduced_primitive(real_space_angstrom, Lattice(centering=centring))
        self._reduced.append(reduced)
        self._parameters.append(parameters_of((real_space_angstrom @ real_space_angstrom.T)[None])[0])
        self._clusters.add(reduced)

    def others(self) -> list[Cluster]:
        """The clusters beside the largest one that are large enough to be another sample."""
        ranked = self._clusters.ranked()
        least = max(_FEWEST, _SHARE * self._clusters.num_crystals)
        return [cluster for cluster in ranked[1:] if len(cluster) >= least]

    def is_of_sample(self) -> NDArray[np.bool_]:
        """Return which crystals, in their order, are not of one of the others."""
        others = self.others()
        kept = np.ones(len(self._reduced), np.bool_)
        for n, reduced in enumerate(self._reduced):
            if np.isfinite(reduced).all():
                kept[n] = not any(_is_in(reduced, cluster) for cluster in others)
        return kept

    def lines(self, group: PointGroup, *, merged_all: bool) -> Iterator[str]:
        """Say which samples there are, and whether the point group goes with the cell."""
        others = self.others()
        if others:
            ranked = self._clusters.ranked()
            what = "merged all the same" if merged_all else "left out (--all-cells merges them, which makes no sense)"
            cells = "; ".join(f"{len(cluster)} of {_in_words(cluster)}" for cluster in others)
            yield (
                f"SEVERAL SAMPLES: {len(ranked[0])} crystals are of the (reduced) cell {_in_words(ranked[0])}, and "
                f"{cells}; the latter were {what}"
            )
        contradiction = self._contradiction(group)
        if contradiction:
            yield contradiction

    def _contradiction(self, group: PointGroup) -> str:
        """Say what of the cell the point group does not allow."""
        kept = np.array(self._parameters).reshape(-1, 6)[self.is_of_sample()]
        kept = kept[np.isfinite(kept).all(axis=1)]
        if len(kept) < _FEWEST:
            return ""
        mean = np.median(kept, axis=0)
        near = (np.abs(kept[:, :3] / mean[:3] - 1) < 0.05).all(axis=1) & (np.abs(kept[:, 3:] - mean[3:]) < 3.0).all(
            axis=1
        )
        if np.count_nonzero(near) < max(_FEWEST, 0.5 * len(kept)):
            return ""
        kept = kept[near]
        mean, error = kept.mean(axis=0), kept.std(axis=0) / math.sqrt(len(kept))
        allowed = _with_symmetry(mean, group)
        off = np.abs(mean - allowed)
        too_far = np.concatenate([off[:3] > _ALIKE * mean[:3], off[3:] > _ALIKE_DEG]) & (off > _ERRORS * error)
        if not too_far.any():
            return ""
        wanted = ["a", "b", "c", "al", "be", "ga"]
        which = ", ".join(
            f"{name} is {value:.2f} and would be {right:.2f}"
            for name, value, right, bad in zip(wanted, mean, allowed, too_far, strict=True)
            if bad
        )
        cell = UnitCell(*mean[:3], *np.radians(mean[3:]))
        lattice = could_be(cell)
        groups = " ".join(_LAUE[lattice.lattice_type])
        return (
            f"THE POINT GROUP {group.name} DOES NOT GO WITH THE CELL of {len(kept)} crystals: {which}; a cell that is "
            f"{lattice.lattice_type} may have {groups}"
        )


def _is_in(reduced: Floats, cluster: Cluster) -> bool:
    lengths = sorted(np.linalg.norm(reduced, axis=1).tolist())
    near = cluster.may_be(lengths, _LENGTH_PERCENT / 100)
    return near and cluster.find(reduced, _LENGTH_PERCENT / 100, _ANGLE_DEG) is not None


def _in_words(cluster: Cluster) -> str:
    parameters = cluster.mean().parameters
    return " ".join(f"{x:.1f}" for x in parameters[:3]) + " A " + " ".join(f"{x:.1f}" for x in parameters[3:])


def _with_symmetry(parameters: Floats, group: PointGroup) -> Floats:
    """The cell that is nearest to one and has the symmetry of a point group: a, b, c in Angstrom, angles in degrees."""
    cell = UnitCell(*parameters[:3], *np.radians(parameters[3:]))
    star = np.linalg.inv(np.array(cell.real_space_angstrom)).T
    metric = np.linalg.inv(group.averaged(star @ star.T))
    return np.asarray(parameters_of(np.asarray(metric, np.float64)[None])[0])
