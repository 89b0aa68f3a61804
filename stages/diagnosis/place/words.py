"""Where the detector is, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from stages.diagnosis.finding import Finding
from stages.diagnosis.place.place import Place
from stages.lattices.cell import UnitCell
from stages.records.displacement import Displacement


def findings_of(place: Place, target: UnitCell | None, share_indexed: float) -> Sequence[Finding]:
    """Say what follows from a place.

    Parameters
    ----------
    share_indexed
        Part of the hits that are indexed, if it is a small one; else NaN.
    """
    return [*_detector(place, share_indexed), *_energy(place), *_cell(place, target)]


def _detector(place: Place, share_indexed: float) -> Iterator[Finding]:
    move = place.correction
    if move.is_none:
        return
    fit = place.best
    said = []
    if place.is_shifted:
        said.append(shift_in_words(move, place.shift_error_m, fit.pixel_m))
    if move.along_m:
        said.append(distance_in_words(move, place.along_error_m, fit.clen_m))
    if place.is_tilted:
        errors = 1e3 * fit.errors[3:].max()
        words = (
            f"turned by {1e3 * move.tilt_rad[0]:+.2f} mrad about x and {1e3 * move.tilt_rad[1]:+.2f} about y "
            f"(+- {errors:.2f})"
        )
        said.append((words, f"tilt {1e3 * math.hypot(*move.tilt_rad):.1f} mrad"))
    parts, briefs = [words for words, _ in said], [brief for _, brief in said]
    text = f"THE DETECTOR IS OFF: it is {_and(parts)}, {_who(place)}"
    if not math.isnan(share_indexed):
        text += f"; only {100 * share_indexed:.0f} % of the hits were indexed for it"
    if move.along_m and place.may_be_energy:
        text += f"; {energy_in_words(move, fit.clen_m)} would look the same"
    text += " (the corrected geometry file has it; --follow-detector goes on with it)"
    yield Finding(
        "detector",
        text,
        f"DETECTOR OFF {', '.join(briefs)}",
        fit.num_crystals,
        figures=place.figures(),
        displacement=move,
    )


def shift_in_words(move: Displacement, error_m: float, pixel_m: float) -> tuple[str, str]:
    """How far the detector is off the beam: as a part of a sentence, and for the progress line."""
    pixels = math.hypot(*move.shift_m) / pixel_m
    words = (
        f"{pixels:.1f} +- {error_m / pixel_m:.1f} pixels off the beam (move it by x {1e3 * move.shift_m[0]:+.3f} y "
        f"{1e3 * move.shift_m[1]:+.3f} mm)"
    )
    return words, f"{pixels:.1f} px"


def distance_in_words(move: Displacement, error_m: float, clen_m: float) -> tuple[str, str]:
    """How much its distance is off: likewise."""
    percent = 100.0 * move.along_m / clen_m
    how = "further away" if percent > 0 else "nearer"
    words = (
        f"{abs(percent):.2f} +- {100.0 * error_m / clen_m:.2f} % {how} than the geometry has it "
        f"({1e3 * (clen_m + move.along_m):.3f} mm, not {1e3 * clen_m:.3f})"
    )
    return words, f"distance {percent:+.1f} %"


def energy_in_words(move: Displacement, clen_m: float) -> str:
    """What else would do what a distance that is off does, but for what it does to angles."""
    return f"a photon energy that is {100.0 * (clen_m / (clen_m + move.along_m) - 1.0):+.1f} % off"


def _who(place: Place) -> str:
    num = place.best.num_crystals
    if not place.is_of_few:
        return f"as {num} crystals agree"
    return (
        f"as {place.best.num_peaks} peaks of {num} crystal{'s' if num > 1 else ''} tell, too few for distance and tilt"
    )


def _energy(place: Place) -> Iterator[Finding]:
    if not place.is_energy:
        return
    percent, error = 100.0 * (place.factor - 1.0), 100.0 * place.factor_error
    how = "longer" if percent > 0 else "shorter"
    yield Finding(
        "energy",
        f"THE PHOTON ENERGY IS OFF: at the angles at which {place.fit.num_crystals} crystals diffract all axes are "
        f"{abs(percent):.2f} +- {error:.2f} % {how} than given: multiply photon_energy by {place.factor:.4f}, or take "
        "another cell",
        f"ENERGY OFF {percent:+.1f} %",
        place.fit.num_crystals,
        figures={"factor": place.factor, "factor_error": place.factor_error},
    )


def _cell(place: Place, target: UnitCell | None) -> Iterator[Finding]:
    if target is not None or place.cell is None or place.correction.is_none:
        return
    cell = place.cell
    lengths = " ".join(f"{x:.2f}" for x in cell.parameters[:3])
    angles = " ".join(f"{math.degrees(x):.2f}" for x in cell.parameters[3:])
    yield Finding(
        "cell",
        f"with the detector there the cell is {cell.lattice.lattice_type} {cell.lattice.centering} within the errors of the "
        f"geometry: {lengths} A {angles} deg",
        "",
        place.fit.num_crystals,
        is_wrong=False,
        figures={
            "lattice_type": cell.lattice.lattice_type,
            "centering": cell.lattice.centering,
            "cell": [*cell.parameters[:3], *map(math.degrees, cell.parameters[3:])],
        },
    )


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
