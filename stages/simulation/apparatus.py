"""The detector and the sample of a simulation: from the user's files, or built in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from pipeline import UserError
from stages.files.cell import cell_text, read_cell
from stages.files.geom.detector import Detector
from stages.files.geom.units import METRES, Quantity
from stages.records.geometry import HC_EV_ANGSTROM
from stages.records.header import Header
from stages.simulation.as_map import IN_MAPS
from stages.simulation.experiment import Simulation
from stages.simulation.formats import FORMATS
from stages.simulation.settings import DISTANCE_MM, ENERGY_EV, RES_PER_M, SIZE, Settings, Style
from stages.simulation.specimen import LYSOZYME, LYSOZYME_SPACE_GROUP, Specimen
from stages.simulation.wire import WireFormat, panels_share_one_array


def flat_geometry(width: int, height: int, res: float, adu_per_photon: float = 1.0, places: str = IN_MAPS) -> str:
    """Text of a geometry file: one panel of `width` x `height` pixels, `res` to the metre, the beam in its middle.

    >>> print(flat_geometry(2068, 2162, 5814.0).splitlines()[1])
    clen = detector_distance mm
    """
    return (
        f"{places}adu_per_photon = {adu_per_photon:g}\n"
        f"res = {res}\n"
        "\n"
        "thepanel/min_fs = 0\n"
        f"thepanel/max_fs = {width - 1}\n"
        "thepanel/min_ss = 0\n"
        f"thepanel/max_ss = {height - 1}\n"
        f"thepanel/corner_x = {-width / 2:g}\n"
        f"thepanel/corner_y = {-height / 2:g}\n"
        "thepanel/fs = x\n"
        "thepanel/ss = y\n"
    )


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of ``2068x2162``.

    >>> parse_size("2068x2162")
    (2068, 2162)
    """
    try:
        width, height = (int(word) for word in text.lower().split("x"))
    except ValueError:
        width = height = 0
    if width < 1 or height < 1:
        raise UserError(f"the size of the detector is written WIDTHxHEIGHT, e.g. 2068x2162; found {text!r}")
    return width, height


@dataclass(frozen=True, eq=False)
class Apparatus:
    """A simulated beamline: what it measures, how it sends it, and the files that describe it.

    Attributes
    ----------
    simulation
        Makes the frames.
    wire
        Makes messages of them.
    geometry_text, cell_text
        Contents of the .geom and .cell files that go with them.
    notes
        What the user should know.
    """

    simulation: Simulation
    wire: WireFormat
    geometry_text: str
    cell_text: str
    notes: tuple[str, ...] = ()

    @staticmethod
    def make(
        settings: Settings,
        *,
        style: Style = "seed",
        image: bool = True,
        geometry: Path | None = None,
        size: str = SIZE,
        res: float = RES_PER_M,
        cell: Path | None = None,
        space_group: str | None = None,
        energy_ev: float = ENERGY_EV,
        distance_mm: float = DISTANCE_MM,
    ) -> Apparatus:
        """Set a beamline up.

        Without `geometry` the detector is one flat panel of `size`; without `cell` the crystals are of lysozyme. Where
        the geometry file states the photon energy or the camera length itself, that is what is simulated.
        """
        if not (energy_ev > 0 and distance_mm > 0):
            raise UserError(f"energy and distance must be above 0, and are {energy_ev} eV and {distance_mm} mm")
        form = FORMATS[style]
        form.require_library()
        places = form.places(energy_ev, distance_mm)
        built_in = flat_geometry(*parse_size(size), res, settings.adu_per_photon, places)
        detector = Detector.load(geometry) if geometry else Detector.parse(built_in)
        detector.prepare()
        notes = []
        more = partial(header_values, detector, distance_mm)
        geom = detector.geom_for(Header(more(energy_ev)))
        if detector.energy is not None and not detector.energy.key:
            settings = replace(settings, energy_jitter=0.0)
            if geometry:
                notes.append(f"the geometry file fixes the photon energy at {geom.photon_energy_ev:g} eV")
        elif not form.energy_may_vary(detector):
            settings = replace(settings, energy_jitter=0.0)
        form.require(detector, geom, geometry)
        if settings.laser_key and not form.can_say(settings.laser_key):
            raise UserError(
                f"frames of the format {style} cannot say under {settings.laser_key!r} whether a laser was on"
            )
        peak_list = form.key_of_peaks(geom)
        if peak_list and not panels_share_one_array(geom):
            peak_list = ""
            notes.append("no peak lists are sent: fs and ss alone would not say on which panel a peak lies")
        if cell is None:
            known, space_group = LYSOZYME, space_group or LYSOZYME_SPACE_GROUP
            text = cell_text(known)
        else:
            known, text = read_cell(cell)
        specimen = Specimen.make(known, space_group, settings.seed)
        if not detector.clen.key and geometry:
            distance_mm = 1000.0 * geom.mean_clen_m
            notes.append(f"the geometry file fixes the camera length at {distance_mm:g} mm")
        return Apparatus(
            Simulation(settings, geom, specimen),
            form(image, distance_mm, peak_list, more),
            detector.text,
            text,
            tuple(notes),
        )


def header_values(detector: Detector, distance_mm: float, energy_ev: float) -> dict[str, float]:
    """What a frame's header must say for the geometry file to find this energy and this mean camera length.

    >>> header_values(Detector.parse(flat_geometry(10, 10, 5814.0)), 130.0, 9500.0)
    {'beam_energy': 9500.0, 'detector_distance': 130.0}
    """
    values = {}
    if detector.energy is not None and detector.energy.key:
        values[detector.energy.key] = _in_unit_of(detector.energy, energy_ev)
    if detector.clen.key:
        coffset_m = float(np.mean([placed.coffset_m for placed in detector.panels]))
        values[detector.clen.key] = round((distance_mm / 1000.0 - coffset_m) / METRES[detector.clen.unit], 9)
    return values | {
        shift.key: 0.0 for shift in (detector.shift_x, detector.shift_y) if shift is not None and shift.key
    }


def _in_unit_of(quantity: Quantity, energy_ev: float) -> float:
    """A photon energy as the header is to say it."""
    if quantity.directive == "electron_voltage":
        raise UserError("electrons are not simulated; the geometry file should give photon_energy or wavelength")
    if quantity.directive == "wavelength":
        return HC_EV_ANGSTROM / energy_ev * {"A": 1.0, "m": 1e-10}[quantity.unit]
    return energy_ev / {"eV": 1.0, "keV": 1e3, "MeV": 1e6}[quantity.unit]
