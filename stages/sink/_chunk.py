"""One frame as a chunk of a CrystFEL stream, version 2.3.

Lengths become nm and 1/nm here, and positions on a panel become positions in the data array (panel position + min_fs,
min_ss), counted from the corner of the first pixel.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import Context, Frame, Outcome, Rejected, RejectFrame
from stages.files.geom.detector import Detector
from stages.files.stream import METHOD_KEY, MOVED_KEY
from stages.files.stream_lines import cell_line, star_line
from stages.lattices.cell import parameters_of, volume_of
from stages.records.crystal import Crystal, Crystals, Reflections
from stages.records.geometry import DetGeom
from stages.records.header import Header
from stages.records.peaklist import PeakList, is_no_hit
from stages.sink._lines import PanelNames, one_line, peak_lines, reflection_lines, warm_up

UNKNOWN_SOURCE = "ZMQdata"
"""What CrystFEL writes as the file name of frames that came over ZeroMQ."""

UNKNOWN_ENERGY_EV = 0.0
"""Written where a frame was rejected before its photon energy was known, since readers need a number."""

UNKNOWN_PROFILE_RADIUS_PER_NM = 0.02
"""With what CrystFEL starts; written where no stage has determined the radius, since readers need one."""

CRYSTFEL_METHODS = frozenset(
    {"none", "dirax", "asdf", "mosflm", "xds", "felix", "taketwo", "xgandalf", "pinkIndexer", "pinkindexer"}
    | {"ffbidx", "smallcell", "simulation", "file"}
)
"""Names of indexing methods that CrystFEL's reader knows; at any other each of its programs complains, for every chunk."""

OTHER_METHOD = "file"
"""Written for any other: to CrystFEL the orientation comes from outside. METHOD_KEY says which method it was."""

_FILE_IN_EVENT = re.compile(r"(\S.*?)\s+//\s*\S+\s*")

_BEGIN_OF_PEAKS = b"Peaks from peak search\n  fs/px   ss/px (1/d)/nm^-1   Intensity  Panel\n"
_END_OF_PEAKS = b"End of peak list\n"
_NO_PEAKS = b"num_peaks = 0\npeak_resolution = 0.000000 nm^-1 or inf A\n"
_NO_PEAKS_LISTED = _NO_PEAKS + _BEGIN_OF_PEAKS + _END_OF_PEAKS
_NO_REFLECTIONS = b"No integrated reflections.\n"
_COLUMNS_OF_REFLECTIONS = b"   h    k    l          I   sigma(I)       peak background  fs/px  ss/px panel\n"


@dataclass(frozen=True)
class ChunkOptions:
    """What is written of a frame, see :class:`~stages.sink.stream_file.StreamFile`.

    Attributes
    ----------
    has_pixels
        Whether reflections have been integrated; without pixels their intensities are zero.
    """

    filename: str = ""
    no_non_hits: bool = False
    no_peaks: bool = False
    no_reflections: bool = False
    copy_headers: tuple[str, ...] = ()
    divergence_rad: float = 0.0
    has_pixels: bool = True


class ChunkEncoder:
    """Turns what arrived into the bytes of its chunk; any number of threads may call it.

    Pure, but for remembering the panels' names and of what it has warned.
    """

    def __init__(self, options: ChunkOptions, context: Context) -> None:
        self._options = options
        self._log = context.log
        self._warned = context.tables.get(("headers not copied", context.node), set[str])  # one for all replicas
        self._detector = context.upstream.get(Detector)
        self._geometry_headers = self._detector.header_keys if self._detector else ()
        self._names = PanelNames(())
        self._divergence = f"beam_divergence = {options.divergence_rad:.2e} rad"
        warm_up()

    def __call__(self, outcome: Outcome) -> bytes | None:
        """Return the chunk; None for what is not written (non-hits, if so asked, and messages nobody understood)."""
        if isinstance(outcome, Rejected):
            if Header not in outcome.frame or self._options.no_non_hits:
                return None
            return b"".join(self._chunk(outcome.frame, outcome))
        if self._options.no_non_hits and is_no_hit(outcome):
            return None
        return b"".join(self._chunk(outcome, None))

    def _chunk(self, frame: Frame, rejected: Rejected | None) -> Iterator[bytes]:
        geom = frame.get(DetGeom)
        crystals = frame.get(Crystals) if rejected is None else None
        crystals = crystals or Crystals()
        yield self._beginning(frame, geom, crystals, rejected).encode(errors="replace")
        yield from self._peaks(frame.get(PeakList), geom)
        for crystal in crystals:
            yield from self._crystal(crystal, geom)
        yield b"----- End chunk -----\n"

    def _beginning(self, frame: Frame, geom: DetGeom | None, crystals: Crystals, rejected: Rejected | None) -> str:
        filename, event = self._name(frame, rejected)
        is_hit = rejected is None and not is_no_hit(frame)
        method = one_line(crystals.found[0].indexed_by, 200) if crystals.found else "none"
        lines = [
            "----- Begin chunk -----",
            f"Image filename: {filename}",
            f"Event: {event}",
            f"Image serial number: {frame.serial}",
            f"hit = {int(is_hit)}",
            f"indexed_by = {method if method in CRYSTFEL_METHODS else OTHER_METHOD}",
        ]
        if crystals.found:
            lines.append(f"n_indexing_tries = {crystals.num_tries}")
        if method not in CRYSTFEL_METHODS:
            lines.append(f"{METHOD_KEY} = {method}")
        if rejected is not None:
            lines.append(f"streamajig/rejected = {one_line(f'{rejected.node}: {rejected.reason}: {rejected.detail}')}")
        lines.append(f"photon_energy_eV = {geom.photon_energy_ev if geom else self._energy_ev(frame):f}")
        lines.append(self._divergence)
        lines.append(f"beam_bandwidth = {geom.bandwidth if geom else 0.0:.2e} (fraction)")
        lines.extend(self._copied_headers(frame))
        if geom is not None:
            if not geom.displacement.is_none:
                lines.append(f"{MOVED_KEY} = {geom.displacement}")
            lines.append(f"average_camera_length = {geom.mean_clen_m:f} m")
        return "\n".join(lines) + "\n"

    def _name(self, frame: Frame, rejected: Rejected | None) -> tuple[str, str]:
        """File name and event, which together identify the frame; the event is what the sender calls it.

        Of frames that were read from files both are what CrystFEL writes of the same list.
        """
        header = frame.get(Header)
        if header is not None and header.place is not None:
            filename, event = header.place
            return one_line(self._options.filename or filename), one_line(event)
        event = one_line((frame.event or (rejected.event if rejected else "")).strip())
        filename = self._options.filename
        if not filename:
            in_file = _FILE_IN_EVENT.fullmatch(event)
            filename = in_file[1] if in_file else UNKNOWN_SOURCE
        return _of_file(filename), event or f"//{frame.serial}"

    def _energy_ev(self, frame: Frame) -> float:
        """The photon energy of a frame without geometry, if its header says it; otherwise 0."""
        if self._detector is None or self._detector.energy is None or Header not in frame:
            return UNKNOWN_ENERGY_EV
        try:
            return self._detector.energy.read(frame[Header])
        except RejectFrame:
            return UNKNOWN_ENERGY_EV

    def _copied_headers(self, frame: Frame) -> Iterator[str]:
        header = frame.get(Header)
        if header is None:
            return
        for name in self._geometry_headers:  # with them the geometry holds for this chunk, wherever it is read again
            try:
                number = header.number(name, positive=False)
            except RejectFrame:
                continue  # if it matters the frame is rejected, and the chunk says so
            kind, text = _header_entry(header[name]) or ("str", "")
            if kind == "str":  # a number sent as text
                kind, text = "float", f"{number:f}"
            yield f"header/{kind}/{_header_name(name)} = {text}"
        for name in self._options.copy_headers:
            if name in self._geometry_headers:
                continue
            try:
                entry, problem = _header_entry(header.required(name)), "its value is neither a number nor text"
            except RejectFrame as error:
                entry, problem = None, error.detail
            if entry is not None:
                yield f"header/{entry[0]}/{_header_name(name)} = {entry[1]}"
            elif name not in self._warned:
                self._warned.add(name)
                self._log.warning("header %r is not copied from frame %d: %s (said once)", name, frame.serial, problem)

    def _peaks(self, peaks: PeakList | None, geom: DetGeom | None) -> Iterator[bytes]:
        if peaks is None or geom is None:
            return
        if not len(peaks) and not peaks.num_on_rings:  # most frames of most experiments
            yield _NO_PEAKS if self._options.no_peaks else _NO_PEAKS_LISTED
            return
        names = self._names_of(geom)
        names.check(peaks.panel)
        with np.errstate(all="ignore"):  # a peak nowhere has a 1/d of nothing, which is what its line says
            inverse_d_per_nm = 10.0 * geom.per_angstrom(peaks.panel, peaks.fs, peaks.ss)
        limit = peak_resolution_per_nm(inverse_d_per_nm)
        yield f"num_peaks = {len(peaks)}\n".encode()
        if peaks.num_on_rings:
            yield f"streamajig/peaks_on_rings = {peaks.num_on_rings}\n".encode()
        yield f"peak_resolution = {limit:f} nm^-1 or {_d_angstrom(limit):f} A\n".encode()
        if self._options.no_peaks:
            return
        fs = np.ascontiguousarray(peaks.fs + names.min_fs[peaks.panel], np.float64)
        ss = np.ascontiguousarray(peaks.ss + names.min_ss[peaks.panel], np.float64)
        yield _BEGIN_OF_PEAKS
        yield peak_lines(fs, ss, inverse_d_per_nm, _float64(peaks.intensity), _int32(peaks.panel), names)
        yield _END_OF_PEAKS

    def _crystal(self, crystal: Crystal, geom: DetGeom | None) -> Iterator[bytes]:
        real = crystal.real_space_angstrom
        volume = volume_of(real)
        if not math.isfinite(volume) or volume == 0.0:
            raise RejectFrame("broken_crystal", f"a crystal's vectors span no cell: {np.asarray(real).tolist()}")
        parameters = parameters_of(real)
        lengths, angles = [0.1 * length for length in parameters[:3]], map(math.degrees, parameters[3:])
        stars = (crystal.reciprocal_per_angstrom * 10.0).tolist()
        radius = crystal.profile_radius_per_angstrom * 10.0
        lines = [
            "--- Begin crystal",
            cell_line(lengths, angles),
            *(star_line(axis, star) for axis, star in zip("abc", stars, strict=True)),
            f"lattice_type = {crystal.lattice.lattice_type}",
            f"centering = {crystal.lattice.centering}",
            f"unique_axis = {crystal.lattice.unique_axis}",
            f"profile_radius = {radius if math.isfinite(radius) else UNKNOWN_PROFILE_RADIUS_PER_NM:.5f} nm^-1",
        ]
        for when, residual in (("initial", crystal.initial_residual), ("final", crystal.final_residual)):
            if math.isfinite(residual):
                lines.append(f"predict_refine/{when}_residual = {residual:e}")
        shift_m = crystal.det_shift_m if geom is None else geom.shift_from_file(crystal.det_shift_m)
        shift_mm = [1e3 * shift for shift in shift_m]
        lines.append("predict_refine/det_shift x = {:.3f} y = {:.3f} mm".format(*shift_mm))
        yield ("\n".join(lines) + "\n").encode()
        if crystal.reflections is None or self._options.no_reflections or geom is None:
            yield _NO_REFLECTIONS
        else:
            yield from self._reflections(crystal, crystal.reflections, geom)
        yield b"--- End crystal\n"

    def _reflections(self, crystal: Crystal, found: Reflections, geom: DetGeom) -> Iterator[bytes]:
        names = self._names_of(geom)
        names.check(found.panel)
        fs = _float64(found.fs + names.min_fs[found.panel])
        ss = _float64(found.ss + names.min_ss[found.panel])
        hkl, panel = _int32(found.hkl), _int32(found.panel)
        values = np.zeros((4, len(found)))
        if self._options.has_pixels:
            values[:] = found.intensity, found.sigma, found.peak, found.background
        good = np.isfinite(values[0]) & np.isfinite(values[1]) & np.isfinite(fs) & np.isfinite(ss)
        num_broken = len(good) - int(good.sum())
        if num_broken:
            fs, ss, hkl, panel, values = fs[good], ss[good], hkl[good], panel[good], _float64(values[:, good])
        limit = crystal.resolution_limit_per_angstrom * 10.0
        if math.isfinite(limit):
            yield f"diffraction_resolution_limit = {limit:.2f} nm^-1 or {_d_angstrom(limit):.2f} A\n".encode()
        yield (
            f"num_reflections = {len(hkl)}\n"
            f"num_saturated_reflections = {found.num_saturated}\n"
            f"num_implausible_reflections = {found.num_implausible + num_broken}\n"
        ).encode()
        if not len(hkl):
            yield _NO_REFLECTIONS  # an empty list stops some readers
            return
        yield b"Reflections measured after indexing\n" + _COLUMNS_OF_REFLECTIONS
        yield reflection_lines(hkl, values, fs, ss, panel, names)
        yield b"End of reflections\n"

    def _names_of(self, geom: DetGeom) -> PanelNames:
        names = self._names
        if names.panels is not geom.panels:
            names = self._names = PanelNames(geom.panels)
        return names


def peak_resolution_per_nm(inverse_d_per_nm: NDArray[np.float64]) -> float:
    """The largest 1/d of the peaks, after a fiftieth of them (if that is at least two) has been set aside; 0 without peaks.

    >>> peak_resolution_per_nm(np.arange(99.0)), peak_resolution_per_nm(np.arange(100.0))
    (98.0, 97.0)
    """
    n = len(inverse_d_per_nm)
    if n == 0:
        return 0.0
    outliers = n // 50 if n >= 100 else 0
    return float(np.partition(inverse_d_per_nm, n - 1 - outliers)[n - 1 - outliers])


_of_file = lru_cache(maxsize=16)(one_line)
"""The name of a file, fit for a line: thousands of frames are of one."""


def _d_angstrom(inverse_d_per_nm: float) -> float:
    return 10.0 / inverse_d_per_nm if inverse_d_per_nm else math.inf


@lru_cache(maxsize=256)  # they are those that the user has named
def _header_name(name: str) -> str:
    """A key as readers take it, without white space."""
    return re.sub(r"\s", "_", one_line(name, 100))


def _header_entry(value: Any) -> tuple[str, str] | None:
    """Kind and text of a copied header; None for what is neither a number nor text."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int):
        return "int", str(int(value))
    if isinstance(value, float):
        return "float", f"{value:f}"
    if isinstance(value, str):
        return "str", one_line(value, 800)
    return None


def _float64(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.ascontiguousarray(values, np.float64)


def _int32(values: NDArray[Any]) -> NDArray[np.int32]:
    return np.ascontiguousarray(values, np.int32)
