"""Energy, distance and pixels in a wrong unit: what comes out is nothing that diffracts onto a detector.

A unit that is wrong is wrong by a factor of 10 or more, mostly 1000, so that wide limits tell it in one frame. A smaller error
only crystals tell.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline import Frame
from stages.diagnosis.finding import Finding
from stages.diagnosis.subject import About
from stages.files.geom.detector import Detector
from stages.files.geom.edits import Edit
from stages.files.geom.units import ELECTRON_REST_ENERGY_EV, ENERGY_UNITS, METRES, Quantity
from stages.records.geometry import HC_EV_ANGSTROM, DetGeom

ENERGY_EV = (2e2, 1.5e6)
"""From soft X-rays to the photons that have the wavelength of electrons of 1 MeV; keV taken for eV are far below it."""
VOLTAGE_V = (5e3, 1e7)
"""Of electrons that diffract."""
STEEPEST = 8.0
"""A detector half of whose pixels are seen at more than 83 degrees (the tangent) is nearer than any is put."""
COARSEST_ANGSTROM = 50.0
"""A detector whose edge has this resolution shows no Bragg peaks of a crystal to be indexed."""
SENSIBLE_STEEPNESS, SENSIBLE_ANGSTROM = (0.005, 4.0), 25.0
"""Where a detector stands as a rule, for proposals: tangent at its median pixel, and resolution at its edge."""
PIXEL_M, USUAL_PIXEL_M = (1e-6, 3e-3), (1e-5, 1e-3)
"""Sizes of pixels that are possible, and that are usual."""
_FIRST, _EVERY = 64, 32
"""In each replica so many frames are looked at, and then one in so many."""
_KEPT = 64
"""Latest frames that are looked at; a sender that is corrected while the run goes on is soon right."""

Numbers = tuple[float, float, float, float, float, float]


class Units:
    """Energy, distance, shift and size of pixels in their units."""

    name = "units"

    def look(self, about: About) -> LookAtUnits:
        """Open the half that sees frames."""
        return LookAtUnits()

    def watch(self, about: About) -> WatchUnits:
        """Open the half that gathers."""
        return WatchUnits(about.detector)


class LookAtUnits:
    """Takes out of a frame what its geometry says in numbers."""

    def __init__(self) -> None:
        self._of: Any = None
        self._extent: tuple[float, float] = (0.0, 0.0)
        self._num = 0

    def __call__(self, frame: Frame) -> Numbers | None:
        """Return energy in eV, mean distance, shift along x and y, and distance of the median and the farthest pixel from the
        point where the beam meets the detector, metres; None without geometry.
        """
        self._num += 1
        if self._num > _FIRST and self._num % _EVERY:
            return None
        geom = frame.get(DetGeom)
        if geom is None:
            return None
        if self._of is not geom.origin_m:
            self._of, self._extent = geom.origin_m, _from_beam_m(geom)
        return (geom.photon_energy_ev, geom.mean_clen_m, *geom.shift_m, *self._extent)


def _from_beam_m(geom: DetGeom) -> tuple[float, float]:
    size = np.array([(panel.width, panel.height) for panel in geom.panels], np.float64)
    steps = np.linspace(0.0, 1.0, 5)
    points = [
        geom.origin_m + fs * size[:, :1] * geom.fs_m + ss * size[:, 1:] * geom.ss_m for fs in steps for ss in steps
    ]
    radius = np.hypot(*np.concatenate(points)[:, :2].T)
    return float(np.median(radius)), float(radius.max())


class WatchUnits:
    """Judges the numbers of the latest frames."""

    def __init__(self, detector: Detector | None) -> None:
        self._detector = detector
        self._latest: deque[Numbers] = deque(maxlen=_KEPT)
        self._num_frames = 0
        self._asked = False

    def take(self, seen: Numbers) -> bool:
        """Keep a frame's numbers; what is wrong in the first frame is said at once."""
        self._latest.append(seen)
        self._num_frames += 1
        asks = not self._asked and bool(self.findings())
        self._asked = True
        return asks

    def findings(self) -> Sequence[Finding]:
        """Return what cannot be in the unit in which it is read."""
        if not self._latest or self._detector is None:
            return []
        energy_ev, distance_m, shift_x, shift_y, median_m, farthest_m = np.median(np.array(self._latest), axis=0)
        file, num = self._detector, self._num_frames
        energy, pixels = _energy(file, float(energy_ev), num), _pixel_size(file, num)
        if pixels is not None:  # of what follows nothing can be told
            return [finding for finding in (energy, pixels) if finding is not None]
        usable_ev = float(energy_ev) if energy is None else math.nan
        found = [
            energy,
            _distance(file, float(distance_m), usable_ev, float(median_m), float(farthest_m), num),
            *(
                _shift(file, quantity, float(value), float(farthest_m), num)
                for quantity, value in ((file.shift_x, shift_x), (file.shift_y, shift_y))
            ),
        ]
        return [finding for finding in found if finding is not None]

    def conclude(self) -> Sequence[Finding]:
        """Return the same."""
        return self.findings()

    def figures(self) -> Mapping[str, Any]:
        """Return the medians of the latest frames."""
        if not self._latest:
            return {}
        energy_ev, distance_m, *_ = np.median(np.array(self._latest), axis=0)
        return {
            "photon_energy_ev": float(energy_ev),
            "wavelength_angstrom": float(HC_EV_ANGSTROM / energy_ev),
            "distance_m": float(distance_m),
        }

    def close(self) -> None:
        """Nothing is held."""


def _energy(file: Detector, energy_ev: float, num: int) -> Finding | None:
    quantity = file.energy
    if quantity is None:
        return None
    if _is_sensible_energy(quantity.directive, energy_ev):
        return None
    units = ENERGY_UNITS[quantity.directive]
    scales = {unit: make(1.0) for unit, make in units.items()}
    unit = quantity.unit or _unit_of_literal(file, quantity.directive, tuple(units), "eV")
    raw = _invert(quantity.directive, unit, energy_ev)
    others = [other for other in scales if other != unit and _is_sensible_energy(quantity.directive, units[other](raw))]
    wavelength = HC_EV_ANGSTROM / energy_ev
    value = quantity.key or f"{raw:.6g}"
    what = f"{quantity.directive} = {value} {unit} makes {energy_ev:.4g} eV, a wavelength of {wavelength:.4g} A"
    if quantity.key:
        what += f" (the header's {quantity.key} is {raw:.6g})"
    edits: tuple[Edit, ...] = ()
    if len(others) == 1:
        line = f"{quantity.key or f'{raw:.9g}'} {others[0]}"
        makes_ev = units[others[0]](raw)
        advice = f"it seems to be in {others[0]}: write '{quantity.directive} = {line}', which makes {makes_ev:.4g} eV"
        edits = (Edit(quantity.directive, line, f"{raw:.6g} {unit} would be a wavelength of {wavelength:.4g} A"),)
    else:
        advice = "nothing diffracts so: correct the number or its unit"
    figures = {"photon_energy_ev": energy_ev, "wavelength_angstrom": wavelength}
    return Finding("energy_unit", f"{what}: {advice}", f"wavelength {wavelength:.4g} A", num, True, figures, edits)


def _is_sensible_energy(directive: str, energy_ev: float) -> bool:
    if directive == "electron_voltage":
        low, high = (ENERGY_UNITS[directive]["V"](voltage) for voltage in VOLTAGE_V)
    else:
        low, high = ENERGY_EV
    return low <= energy_ev <= high


def _invert(directive: str, unit: str, energy_ev: float) -> float:
    """The number that in this unit makes this energy."""
    of_one = ENERGY_UNITS[directive][unit](1.0)
    if directive == "photon_energy":
        return energy_ev / of_one
    if directive == "wavelength":
        return of_one / energy_ev
    # E^2 = eV (eV + 2 m c^2), solved for eV
    voltage = math.sqrt(ELECTRON_REST_ENERGY_EV**2 + energy_ev**2) - ELECTRON_REST_ENERGY_EV
    return voltage / {"V": 1.0, "kV": 1e3}[unit]


def _unit_of_literal(file: Detector, directive: str, units: tuple[str, ...], unless: str) -> str:
    """The unit behind a number that stands in the file itself."""
    for line in reversed(file.text.splitlines()):
        name, equals, value = line.partition(";")[0].partition("=")
        if equals and name.strip() == directive:
            words = value.split()
            return words[1] if len(words) > 1 and words[1] in units else unless
    return unless


def _distance(
    file: Detector, distance_m: float, energy_ev: float, median_m: float, farthest_m: float, num: int
) -> Finding | None:
    wavelength = HC_EV_ANGSTROM / energy_ev if energy_ev > 0 else 1.0
    steepness, edge = median_m / distance_m, _edge_angstrom(wavelength, farthest_m, distance_m)
    if steepness <= STEEPEST and edge <= COARSEST_ANGSTROM:
        return None
    quantity, unit = file.clen, file.clen.unit or _unit_of_literal(file, "clen", tuple(METRES), "m")
    offset_m = sum(placed.coffset_m for placed in file.panels) / len(file.panels)
    raw = (distance_m - offset_m) / METRES[unit]
    fitting = []
    for name, metres in {**METRES, "cm": 1e-2, "um": 1e-6}.items():
        there_m = raw * metres + offset_m
        if name != unit and there_m > 0 and _is_sensible_place(wavelength, median_m, farthest_m, there_m):
            fitting.append(name)
    seen = "half of its pixels are seen beyond 83 degrees" if steepness > STEEPEST else f"its edge is at {edge:.3g} A"
    line = quantity.key or f"{raw:.9g}"
    what = f"clen = {line} {unit} puts the detector at {_length(distance_m)}, where {seen}"
    if quantity.key:
        what += f" (the header's {quantity.key} is {raw:.6g})"
    known = [name for name in fitting if name in METRES]
    edits: tuple[Edit, ...] = ()
    if known:
        there_m = raw * METRES[known[0]] + offset_m
        advice = f"write 'clen = {line} {known[0]}', which makes {_length(there_m)}"
        edits = (Edit("clen", f"{line} {known[0]}", f"in {unit} the detector would stand at {_length(distance_m)}"),)
    elif fitting:
        there_m = raw * {"cm": 1e-2, "um": 1e-6}[fitting[0]] + offset_m
        advice = f"the number seems to be in {fitting[0]}, which makes {_length(there_m)}: clen counts m or mm"
    else:
        advice = "correct the number, its unit, or res"
    figures = {"distance_m": distance_m, "edge_angstrom": edge}
    return Finding(
        "distance_unit", f"{what}: {advice}", f"detector at {_length(distance_m)}", num, True, figures, edits
    )


def _is_sensible_place(wavelength: float, median_m: float, farthest_m: float, distance_m: float) -> bool:
    low, high = SENSIBLE_STEEPNESS
    return (
        low <= median_m / distance_m <= high and _edge_angstrom(wavelength, farthest_m, distance_m) <= SENSIBLE_ANGSTROM
    )


def _edge_angstrom(wavelength: float, farthest_m: float, distance_m: float) -> float:
    """lambda / 2 sin(theta) at the farthest pixel."""
    return wavelength / (2.0 * math.sin(0.5 * math.atan2(farthest_m, distance_m)))


def _length(metres: float) -> str:
    """A length for people.

    >>> _length(0.13), _length(1.3e-4), _length(130.0)
    ('130 mm', '0.13 mm', '130 m')
    """
    return f"{metres:.4g} m" if metres >= 2 else f"{1e3 * metres:.4g} mm"


def _pixel_size(file: Detector, num: int) -> Finding | None:
    """What is wrong with ``res``, as the first panel shows for which it is."""
    wrong = [p for p in file.panels if not PIXEL_M[0] <= 1.0 / p.res_per_m <= PIXEL_M[1]]
    if not wrong:
        return None
    res = wrong[0].res_per_m
    # what people write instead of pixels per metre: pixels per mm; the size of a pixel in um, mm or m
    meant = {"pixels per mm": 1e3 * res, "um": 1e6 / res, "mm": 1e3 / res, "m": 1.0 / res}
    fitting = {name: per_m for name, per_m in meant.items() if USUAL_PIXEL_M[0] <= 1.0 / per_m <= USUAL_PIXEL_M[1]}
    what = f"res = {res:g} pixels per metre makes pixels of {_length(1.0 / res)}"
    edits: tuple[Edit, ...] = ()
    if len(fitting) == 1:
        (name, per_m), *_ = fitting.items()
        is_size = name != "pixels per mm"
        advice = f"it seems to be {'the size of a pixel in ' if is_size else ''}{name}: write 'res = {per_m:.8g}'"
        directives = ["res"] if len(wrong) == len(file.panels) else [f"{p.panel.name}/res" for p in wrong]
        edits = tuple(Edit(name, f"{per_m:.8g}", f"pixels of {1e6 / per_m:.4g} um") for name in directives)
    else:
        advice = "res is the number of pixels in a metre"
    brief = f"pixels of {_length(1 / res)}"
    return Finding("pixel_size", f"{what}: {advice}", brief, num, True, {"res_per_m": res}, edits)


def _shift(file: Detector, quantity: Quantity | None, shift_m: float, farthest_m: float, num: int) -> Finding | None:
    """A shift that takes the detector farther than it is large: the beam, seen without it, would be nearer."""
    if quantity is None or abs(shift_m) < 0.05 or abs(shift_m) < 0.6 * farthest_m:
        return None
    unit = quantity.unit or _unit_of_literal(file, quantity.directive, tuple(METRES), "m")
    value = quantity.key or f"{shift_m / METRES[unit]:.9g}"
    what = f"{quantity.directive} = {value} {unit} moves the detector by {_length(abs(shift_m))}, off the beam"
    edits: tuple[Edit, ...] = ()
    advice = "correct the number or its unit"
    if unit == "m":
        line = f"{value} mm"
        advice = f"write '{quantity.directive} = {line}' if it is in mm (m is what counts without a unit)"
        edits = (Edit(quantity.directive, line, f"in m it would be {_length(abs(shift_m))}"),)
    figures = {"shift_m": shift_m}
    return Finding(
        f"{quantity.directive}_unit", f"{what}: {advice}", "shift in a wrong unit", num, True, figures, edits
    )
