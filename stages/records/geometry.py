"""The detector in the laboratory: panels, and the way between pixels and directions.

Laboratory frame: +z along the beam, +y up, right-handed; lengths in metres. A position (fs, ss) on a panel counts pixels
from the corner of the panel's first pixel (its centre is at 0.5, 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import RejectFrame
from stages.compute.plain_arrays import plain
from stages.compute.scattering import lengths, scattering_vectors
from stages.records.displacement import NOT_DISPLACED, Displacement
from stages.records.image import Image
from stages.records.peaklist import PeakList

HC_EV_ANGSTROM = 12398.419843320026
"""Planck's constant times the speed of light in eV Angstrom (CODATA 2018, exact)."""


@dataclass(frozen=True)
class Panel:
    """Where one panel's pixels stand in the data, and what their values mean. Numbers that do not change per frame.

    Attributes
    ----------
    name
        As in the geometry file.
    data
        Key of the message's map under which the panel's array comes; "" where the file does not say.
    dims
        For each dimension of that array, slowest first: ``"ss"``, ``"fs"``, a fixed index, or ``"%"`` (the frame number
        of a multi-event file; absent from streamed arrays).
    min_fs, max_fs, min_ss, max_ss
        Inclusive range of the panel in the array.
    adu_per_photon
        ADU for one photon at the frame's energy is ``adu_per_photon``, or ``adu_per_ev * photon_energy_ev`` where that is set.
    adu_per_ev
        NaN where the file gives adu_per_photon.
    max_adu
        Saturation value, inf where there is none.
    no_index
        Whole panel is bad: no peaks, no reflections.
    flag_lessthan, flag_morethan, flag_equal
        Values that mark bad pixels: strictly less, strictly more, equal; -inf, inf, NaN where unset.
    """

    name: str
    data: str = ""
    dims: tuple[str | int, ...] = ("ss", "fs")
    min_fs: int = 0
    max_fs: int = 0
    min_ss: int = 0
    max_ss: int = 0
    adu_per_photon: float = 1.0
    adu_per_ev: float = float("nan")
    max_adu: float = float("inf")
    no_index: bool = False
    flag_lessthan: float = float("-inf")
    flag_morethan: float = float("inf")
    flag_equal: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """Pixels along fast scan."""
        return self.max_fs - self.min_fs + 1

    @property
    def height(self) -> int:
        """Pixels along slow scan."""
        return self.max_ss - self.min_ss + 1

    @property
    def num_pixels(self) -> int:
        """Pixels of the panel."""
        return self.width * self.height

    def view(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return this panel's pixels as a (height, width) view of the whole array; rejects one that is too small.

        >>> Panel("p1", dims=("%", 1, "ss", "fs"), max_fs=3, max_ss=2).view(np.zeros((2, 5, 4))).shape
        (3, 4)
        """
        one_frame, index = self._place_in(array.shape)
        view = (array if array.shape == one_frame else array.reshape(one_frame))[index]
        return view.T if self.dims.index("fs") < self.dims.index("ss") else view

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Reject a frame whose array has a shape in which the panel is not."""
        self._place_in(shape)

    def _place_in(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[slice | int, ...]]:
        """Return an array's shape without its frame axes, and where the panel is in it."""
        dims = [d for d in self.dims if d != "%"]
        if len(shape) == len(self.dims) != len(dims):
            shape = self._without_frames(shape)
        if len(shape) != len(dims):
            raise RejectFrame(
                "wrong_dimensions",
                f"panel {self.name!r} wants {self.data!r} with {len(dims)} dimensions ({', '.join(map(str, dims))}), "
                f"and it has shape {shape}",
            )
        index: list[slice | int] = []
        needed: list[int] = []
        for dim in dims:
            if dim == "ss":
                index.append(slice(self.min_ss, self.max_ss + 1))
                needed.append(self.max_ss + 1)
            elif dim == "fs":
                index.append(slice(self.min_fs, self.max_fs + 1))
                needed.append(self.max_fs + 1)
            else:
                index.append(int(dim))
                needed.append(int(dim) + 1)
        if any(have < need for have, need in zip(shape, needed, strict=True)):
            raise RejectFrame(
                "image_too_small",
                f"panel {self.name!r} needs {self.data!r} to be at least {tuple(needed)}, and it is {shape}",
            )
        return shape, tuple(index)

    def _without_frames(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Take the frame axes (``%``) off the shape of an array that came with them, of length 1 each."""
        sizes = [size for size, dim in zip(shape, self.dims, strict=True) if dim == "%"]
        if any(size != 1 for size in sizes):
            raise RejectFrame(
                "wrong_dimensions",
                f"panel {self.name!r} wants one frame in {self.data!r}, and its shape {shape} "
                f"holds {max(sizes)} along a '%' dimension",
            )
        return tuple(size for size, dim in zip(shape, self.dims, strict=True) if dim != "%")


@dataclass(frozen=True, eq=False)
class DetGeom:
    """The geometry as it holds for one frame: everything numeric, no reference to a header left.

    The point (fs, ss) of panel p lies at ``origin_m[p] + fs * fs_m[p] + ss * ss_m[p]``.

    Attributes
    ----------
    panels
        Static facts of each panel, P of them.
    origin_m, fs_m, ss_m
        float64 (P, 3): the panel's corner, and one pixel step along fast and slow scan, in the laboratory, metres.
        Camera length, coffset, resolution and detector shift are all contained.
    photon_energy_ev
        Of this frame.
    bandwidth
        Relative (delta E / E).
    clen_m
        float64 (P,), camera length of each panel without coffset.
    shift_m
        Detector shift (x, y) contained in `origin_m`.
    bad
        One uint8 array (height, width) per panel: 1 where a pixel must not be used (bad regions, mask files, no_index,
        masked edges and, where the frame's own values count, its flags). Shared between frames unless flags are in use.
    peak_list
        Key of the peak list in the message's map; "" where the file has no ``peak_list``.
    static_key
        Hashable; equal for two frames whose panels, vectors and static masks are equal, so that tables can be kept.
        It does not cover what the frame's own values flag: keep `static_bad` in tables, and look at `bad` if it is another.
    static_bad
        The masks that `static_key` stands for; the very same tuple as `bad` unless pixels are flagged by this frame's
        values. Empty where the geometry was made without one.
    displacement
        Where the detector stands, as seen from where the geometry file has it; contained in `origin_m`, `fs_m` and `ss_m`.
    base
        The geometry as the file has it, of one that is displaced; None of one that is not.
    """

    panels: tuple[Panel, ...]
    origin_m: NDArray[np.float64]
    fs_m: NDArray[np.float64]
    ss_m: NDArray[np.float64]
    photon_energy_ev: float
    clen_m: NDArray[np.float64]
    bad: tuple[NDArray[np.uint8], ...]
    bandwidth: float = 0.0
    shift_m: tuple[float, float] = (0.0, 0.0)
    peak_list: str = ""
    static_key: Any = field(default=None, repr=False)
    static_bad: tuple[NDArray[np.uint8], ...] = field(default=(), repr=False)
    displacement: Displacement = field(default=NOT_DISPLACED, repr=False)
    base: DetGeom | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return (
            f"DetGeom({len(self.panels)} panels, {self.photon_energy_ev:.0f} eV, at {1000 * self.mean_clen_m:.1f} mm)"
        )

    @property
    def wavelength_angstrom(self) -> float:
        """hc / E."""
        return HC_EV_ANGSTROM / self.photon_energy_ev

    @cached_property
    def mean_clen_m(self) -> float:
        """CrystFEL's average_camera_length: mean over panels of clen + coffset, i.e. of the corner's z."""
        return float(np.mean(self.origin_m[:, 2]))

    @cached_property
    def mean_pixel_m(self) -> float:
        """The size of a pixel along fast scan, mean over panels."""
        return float(np.mean(np.linalg.norm(self.fs_m, axis=1)))

    def adu_per_photon(self, panel: int) -> float:
        """ADU per photon on a panel at this frame's energy."""
        p = self.panels[panel]
        return p.adu_per_photon if np.isnan(p.adu_per_ev) else p.adu_per_ev * self.photon_energy_ev

    def views(self, image: Image) -> list[NDArray[Any]]:
        """Return each panel's pixels, (height, width) views in the panels' order, never copies."""
        return [panel.view(image.array(panel.data)) for panel in self.panels]

    def shifted(self, det_shift_m: tuple[float, float]) -> DetGeom:
        """Return the geometry with the detector moved by (x, y) metres, itself if it is not moved."""
        if det_shift_m == (0.0, 0.0):
            return self
        return replace(self, origin_m=self.origin_m + np.array([*det_shift_m, 0.0]))

    def displaced(self, move: Displacement) -> DetGeom:
        """Return the geometry with the whole detector moved and turned, itself if it is not.

        Of one that is displaced already both displacements are added in its `displacement`, which is right to first order.
        """
        if move.is_none:
            return self
        centre = np.array([0.0, 0.0, self.mean_clen_m])
        turn = move.rotation.T
        origin = (self.origin_m - centre) @ turn + centre + np.array([*move.shift_m, move.along_m])
        key = None if self.static_key is None else (self.static_key, "displaced", move)
        return replace(
            self,
            origin_m=origin,
            fs_m=self.fs_m @ turn,
            ss_m=self.ss_m @ turn,
            static_key=key,
            displacement=self.displacement + move,
            base=self.of_file,
        )

    @property
    def of_file(self) -> DetGeom:
        """The geometry where the file has it."""
        return self if self.base is None else self.base

    def shift_from_file(self, det_shift_m: tuple[float, float]) -> tuple[float, float]:
        """Return a crystal's shift (x, y) as seen from where the geometry file has the detector, metres."""
        x, y = self.displacement.shift_m
        return det_shift_m[0] + x, det_shift_m[1] + y

    def lab_m(self, panel: NDArray[Any], fs: NDArray[Any], ss: NDArray[Any]) -> NDArray[np.float64]:
        """Laboratory position in metres, (n, 3), of points on panels (all arrays of length n)."""
        lab: NDArray[np.float64] = (
            self.origin_m[panel] + fs[:, None] * self.fs_m[panel] + ss[:, None] * self.ss_m[panel]
        )
        return lab

    def q_per_angstrom(self, panel: NDArray[Any], fs: NDArray[Any], ss: NDArray[Any]) -> NDArray[np.float64]:
        """Scattering vector q = (k_out - k_in) in 1/Angstrom (without 2 pi), (n, 3); |q| = 1/d.

        >>> geom = DetGeom((Panel("p", max_fs=9, max_ss=9),), np.array([[-5e-4, 0, 0.1]]), np.array([[1e-4, 0, 0]]),
        ...                np.array([[0, 1e-4, 0]]), 12398.419843320026, np.array([0.1]), (np.zeros((10, 10), "u1"),))
        >>> np.round(geom.q_per_angstrom(np.array([0]), np.array([15.0]), np.array([0.0])), 6)
        array([[ 1.e-02,  0.e+00, -5.e-05]])
        """
        q = np.empty((len(panel), 3))
        numbers, at_fs, at_ss = plain(panel, np.int32), plain(fs, np.float64), plain(ss, np.float64)
        origin_m, fs_m, ss_m = (plain(vectors, np.float64) for vectors in (self.origin_m, self.fs_m, self.ss_m))
        if not scattering_vectors(numbers, at_fs, at_ss, origin_m, fs_m, ss_m, self.wavelength_angstrom, q):
            raise IndexError(f"panels {np.min(panel)} to {np.max(panel)} of the {len(self.panels)} that there are")
        return q

    def per_angstrom(self, panel: NDArray[Any], fs: NDArray[Any], ss: NDArray[Any]) -> NDArray[np.float64]:
        """1/d of points on panels in 1/Angstrom, (n,): the length of :meth:`q_per_angstrom`."""
        found = np.empty(len(panel))
        lengths(self.q_per_angstrom(panel, fs, ss), found)
        return found

    def locate(
        self, q_per_angstrom: NDArray[Any]
    ) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
        """Return panel, fs and ss where the scattered rays of these vectors, (n, 3), hit the detector.

        The ray has the direction of q + k_in, which for q on the Ewald sphere is exact and the inverse of
        :meth:`q_per_angstrom`. Panel is -1 and fs, ss are NaN for rays that hit none; of panels that overlap the nearer
        one is hit.

        >>> geom = DetGeom((Panel("p", max_fs=9, max_ss=9),), np.array([[-5e-4, 0, 0.1]]), np.array([[1e-4, 0, 0]]),
        ...                np.array([[0, 1e-4, 0]]), 12398.419843320026, np.array([0.1]), (np.zeros((10, 10), "u1"),))
        >>> panel, fs, ss = geom.locate(geom.q_per_angstrom(np.array([0]), np.array([2.5]), np.array([7.0])))
        >>> panel, np.round(fs, 6), np.round(ss, 6)
        (array([0], dtype=int32), array([2.5]), array([7.]))
        """
        direction = np.asarray(q_per_angstrom, np.float64) * self.wavelength_angstrom
        direction = direction + np.array([0.0, 0.0, 1.0])
        n = len(direction)
        found, fs, ss = np.full(n, -1, np.int32), np.full(n, np.nan), np.full(n, np.nan)
        nearest = np.full(n, np.inf)
        for i, panel in enumerate(self.panels):
            # t * direction = origin + fs * fs_m + ss * ss_m, solved for fs/t, ss/t, 1/t
            basis = np.stack([self.fs_m[i], self.ss_m[i], self.origin_m[i]], axis=1)
            if abs(np.linalg.det(basis)) < 1e-12 * np.prod(np.linalg.norm(basis, axis=0)):
                continue
            solved = np.linalg.solve(basis, direction.T)
            with np.errstate(divide="ignore", invalid="ignore"):
                t, at_fs, at_ss = 1 / solved[2], solved[0] / solved[2], solved[1] / solved[2]
            hit = (t > 0) & (t < nearest) & (at_fs >= 0) & (at_fs < panel.width) & (at_ss >= 0) & (at_ss < panel.height)
            found[hit], fs[hit], ss[hit], nearest[hit] = i, at_fs[hit], at_ss[hit], t[hit]
        return found, fs, ss


def warm_up() -> None:
    """Compile what every frame needs, or load it."""
    one = np.zeros((1, 3))
    scattering_vectors(np.zeros(1, np.int32), np.zeros(1), np.zeros(1), one, one, one, 1.0, one.copy())
    lengths(one, np.zeros(1))


def q_on_shifted(peaks: PeakList, geom: DetGeom, det_shift_m: tuple[float, float]) -> NDArray[np.float64]:
    """Return q of the peaks, float64 (n, 3) in 1/Angstrom, with the detector moved along x and y."""
    return geom.shifted(det_shift_m).q_per_angstrom(peaks.panel, peaks.fs, peaks.ss)
