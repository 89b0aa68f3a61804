"""Numbers with units that stand in the geometry file, or in each frame's header: ``clen = detector_distance mm``.

A value is a literal number or the name of a header key; a unit may follow it. Everything comes out in metres, or as a
photon energy in eV.

>>> from stages.records.header import Header
>>> length_of("clen", "detector_distance mm").read(Header({"detector_distance": 120}))
0.12
>>> length_of("clen", "0.12").number, length_of("clen", "distance").unit
(0.12, 'mm')
>>> round(energy_of("wavelength", "1 A").number, 2)
12398.42
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from pipeline import RejectFrame
from stages.files.geom.text import BadValue, split_unit, suggestion, to_number
from stages.records.geometry import HC_EV_ANGSTROM
from stages.records.header import Header

ELECTRON_REST_ENERGY_EV = 510998.95069
"""m c^2 (CODATA 2022)."""

METRES: Mapping[str, float] = {"m": 1.0, "mm": 1e-3}


def photon_energy_of_electrons_ev(voltage_v: float) -> float:
    """Return the energy of photons that have the wavelength of electrons accelerated by this voltage.

    lambda = h c / sqrt(eV (eV + 2 m c^2)), which is relativistic.

    >>> round(HC_EV_ANGSTROM / photon_energy_of_electrons_ev(200e3), 5)
    0.02508
    """
    return math.sqrt(voltage_v * (voltage_v + 2 * ELECTRON_REST_ENERGY_EV))


def _times(scale: float, value: float) -> float:
    return scale * value


def _wavelength(scale_angstrom: float, value: float) -> float:
    return HC_EV_ANGSTROM / (scale_angstrom * value)


def _electrons(scale_v: float, value: float) -> float:
    return photon_energy_of_electrons_ev(scale_v * value)


ENERGY_UNITS: Mapping[str, Mapping[str, Callable[[float], float]]] = {
    "photon_energy": {"eV": partial(_times, 1.0), "keV": partial(_times, 1e3), "MeV": partial(_times, 1e6)},
    "wavelength": {"A": partial(_wavelength, 1.0), "m": partial(_wavelength, 1e10)},
    "electron_voltage": {"V": partial(_electrons, 1.0), "kV": partial(_electrons, 1e3)},
}
"""For each way to give the energy: what turns a number in a unit into eV of photon energy."""


@dataclass(frozen=True)
class Quantity:
    """A number in metres or eV, or where each frame's header has it.

    Attributes
    ----------
    directive
        As in the file, e.g. ``clen``.
    number
        The literal number, in metres or eV; None where it comes with each frame.
    key
        The header's key; "" for a literal number.
    unit
        In which the header's value counts.
    """

    directive: str
    number: float | None = None
    key: str = ""
    unit: str = ""

    def read(self, header: Header) -> float:
        """Return the value for one frame, in metres or eV; rejects a frame without it."""
        if self.number is not None:
            return self.number
        energy = ENERGY_UNITS.get(self.directive)
        if energy is None:
            return METRES[self.unit] * header.number(self.key, positive=False)
        value = energy[self.unit](header.number(self.key))
        if not (math.isfinite(value) and value > 0):
            raise RejectFrame(
                "not_a_number",
                f"key {self.key!r} holds {header[self.key]!r}, which is no {self.directive} in {self.unit}",
            )
        return value


def length_of(directive: str, text: str) -> Quantity:
    """Read a length: metres where a literal number has no unit, and so for a shift's key; clen's key counts mm."""
    first, unit = _split(directive, text, tuple(METRES))
    number = to_number(first)
    if number is None:
        return Quantity(directive, None, first, unit or ("mm" if directive == "clen" else "m"))
    return Quantity(directive, _finite(directive, METRES[unit or "m"] * number, first))


def energy_of(directive: str, text: str) -> Quantity:
    """Read ``photon_energy`` (eV if no unit is given), ``wavelength`` or ``electron_voltage`` (which need a unit)."""
    units = ENERGY_UNITS[directive]
    first, unit = _split(directive, text, tuple(units))
    if not unit:
        if directive != "photon_energy":
            raise BadValue(
                f"has no unit; {directive} needs one of {', '.join(units)}, e.g. '{first} {next(iter(units))}'"
            )
        unit = "eV"
    number = to_number(first)
    if number is None:
        return Quantity(directive, None, first, unit)
    if not number > 0:
        raise BadValue("should be above 0")
    return Quantity(directive, _finite(directive, units[unit](number), first))


def _split(directive: str, text: str, units: tuple[str, ...]) -> tuple[str, str]:
    words = text.split()
    if len(words) > 2:
        raise BadValue("has more than two words; wanted a number or a header key, then a unit")
    if len(words) == 1:
        apart = split_unit(words[0], units)
        if apart:
            raise BadValue(
                f"would be taken for the name of a header key; between number and unit stands a space: '{apart}'"
            )
        return words[0], ""
    if words[1] not in units:
        raise BadValue(f"has the unit {words[1]!r}; {directive} knows {', '.join(units)}{suggestion(words[1], units)}")
    return words[0], words[1]


def _finite(directive: str, value: float, text: str) -> float:
    if not math.isfinite(value):
        raise BadValue(f"should be a finite number for {directive}, and is {text}")
    return value
