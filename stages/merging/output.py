"""Merged data as an MTZ file and as a picture."""

from __future__ import annotations

import math
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from pipeline import UserError
from stages.lattices.cell import UnitCell
from stages.merging.merger import Merged
from stages.merging.shells import Quality


def mean_cell(merged: Merged) -> gemmi.UnitCell:
    """The mean of the crystals' cells, with the symmetry of the point group."""
    real = np.linalg.inv(np.linalg.cholesky(merged.metric)).T
    cell = UnitCell.from_vectors(np.asarray(real, np.float64))
    return gemmi.UnitCell(*cell.parameters[:3], *(math.degrees(angle) for angle in cell.parameters[3:]))


def space_group_of(merged: Merged, name: str = "") -> gemmi.SpaceGroup:
    """The space group to write: the one asked for, if its symmetry is that of the merged data, or one of that symmetry."""
    if not name:
        return merged.group.space_group(merged.centring)
    found = gemmi.find_spacegroup_by_name(name)
    if found is None:
        raise UserError(f"--space-group={name}: gemmi knows no such space group")
    rotations = {(np.array(op.rot, np.int64) // gemmi.Op.DEN).tobytes() for op in found.operations().sym_ops}
    own = {op.tobytes() for op in merged.group.operations.astype(np.int64)}
    with_friedel = own | {(-op).tobytes() for op in merged.group.operations.astype(np.int64)}
    if not rotations <= with_friedel or 2 * len(rotations) < len(with_friedel):
        raise UserError(
            f"--space-group={name}: its symmetry ({found.point_group_hm()}) is not that of the point group "
            f"{merged.group.name} over which the data were merged"
        )
    return found


def write_mtz(path: Path, merged: Merged, which: NDArray[np.bool_], space_group: gemmi.SpaceGroup) -> int:
    """Write reflections as IMEAN, SIGIMEAN and N; with I(+), I(-) where Friedel mates were kept apart.

    A reflection stands in gemmi's asymmetric unit. Returns the number of rows.
    """
    asu, operations = gemmi.ReciprocalAsu(space_group), space_group.operations()
    places: dict[tuple[int, int, int], dict[bool, int]] = {}
    for n in np.flatnonzero(which).tolist():
        hkl, isym = asu.to_asu(merged.hkl[n].tolist(), operations)
        places.setdefault((hkl[0], hkl[1], hkl[2]), {})[isym % 2 == 1] = n
    anomalous = merged.group.is_chiral
    rows = [_row(hkl, found, merged, anomalous) for hkl, found in sorted(places.items())]
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = space_group
    mtz.set_cell_for_all(mean_cell(merged))
    mtz.add_dataset("streamajig merge")
    for label, kind in (("IMEAN", "J"), ("SIGIMEAN", "Q"), ("N", "I")):
        mtz.add_column(label, kind)
    if anomalous:
        for label, kind in (("I(+)", "K"), ("SIGI(+)", "M"), ("I(-)", "K"), ("SIGI(-)", "M")):
            mtz.add_column(label, kind)
    mtz.set_data(np.array(rows, np.float32).reshape(len(rows), 10 if anomalous else 6))
    mtz.history = ["merged by streamajig: a quick look, see partialator"]
    try:
        mtz.write_to_file(str(path))
    except (OSError, RuntimeError) as error:
        raise UserError(f"cannot write {path}: {error}") from error
    return len(rows)


def _row(hkl: tuple[int, int, int], found: dict[bool, int], merged: Merged, anomalous: bool) -> list[float]:
    at = list(found.values())
    count = merged.count[at]
    mean = float(np.average(merged.intensity[at], weights=count))
    sigma = float(np.sqrt(np.sum((count / count.sum() * merged.sigma[at]) ** 2)))
    row = [*map(float, hkl), mean, sigma, float(count.sum())]
    if anomalous:
        for mate in (True, False):
            n = found.get(mate)
            row += [math.nan, math.nan] if n is None else [float(merged.intensity[n]), float(merged.sigma[n])]
    return row


def plot(path: Path, found: Quality, title: str) -> None:
    """Draw the shells' figures of merit."""
    try:
        import matplotlib
    except ImportError as error:
        raise UserError(
            "--plot needs matplotlib; install it with: pip install 'streamajig[pictures]' (or leave --plot out)"
        ) from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    middle = [0.5 * (1 / shell.d_max_angstrom**2 + 1 / shell.d_min_angstrom**2) for shell in found.shells]
    figure, (upper, lower) = plt.subplots(2, 1, sharex=True, figsize=(7, 6), layout="constrained")
    upper.plot(middle, [shell.cc_half for shell in found.shells], "o-", label="CC1/2")
    upper.plot(middle, [shell.completeness for shell in found.shells], "s-", label="completeness")
    upper.plot(middle, [shell.r_split for shell in found.shells], "^-", label="Rsplit")
    upper.set_ylim(0, 1.05)
    upper.legend()
    upper.set_title(title, fontsize=10)
    lower.plot(middle, [shell.multiplicity for shell in found.shells], "o-", label="multiplicity")
    lower.plot(middle, [shell.i_over_sigma for shell in found.shells], "s-", label="I/sigma(I)")
    lower.set_ylim(bottom=0)
    lower.legend()
    ticks = [tick for tick in lower.get_xticks() if tick > 0]
    lower.set_xticks(ticks, [f"{tick**-0.5:.2f}" for tick in ticks])
    lower.set_xlabel("d / Angstrom")
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write {path}: {error}") from error
    finally:
        plt.close(figure)
