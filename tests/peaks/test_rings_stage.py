"""peaks/rings takes out peaks on rings of known spacings, or counts them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.peaks.rings import Rings
from stages.prediction.powder_rings import ICE_ANGSTROM
from stages.records.peaklist import PeakList
from stages.simulation.powder import rings
from stages.simulation.spot_lists import CELLS, XRAYS, simulate


def on_and_off(n: int = 40) -> tuple[PeakList, object, np.ndarray]:
    """Peaks of ice and of a crystal, shuffled; the geometry; which are ice's."""
    rng = np.random.default_rng(81)
    ice = rings(rng, n, ICE_ANGSTROM[:3], 0.5)
    spots = simulate(CELLS["lysozyme"], rng, 80, shift_px=0.0).q
    q = np.concatenate([ice, spots])
    order = rng.permutation(len(q))
    peaks, geom = XRAYS.peaks_of(q[order], np.arange(len(q)))
    return peaks, geom, order < n


def test_all_peaks_of_ice_are_taken_out_and_few_of_a_crystal() -> None:
    peaks, geom, is_ice = on_and_off()
    left = Rings()(peaks, geom)
    stays = np.isin(peaks.intensity, left.intensity)
    assert not stays[is_ice].any()
    # the three rings and those farther out are stripes of 1.4 % of 1/d, few of which a crystal's spots meet
    assert stays[~is_ice].mean() > 0.75
    assert left.num_on_rings == len(peaks) - len(left)
    assert left.counts()["peaks_on_rings"] == left.num_on_rings
    assert (np.diff(left.intensity) > 0).all(), "peaks stay in their order"


def test_marked_peaks_stay_and_are_counted() -> None:
    peaks, geom, _ = on_and_off()
    marked, taken = Rings(mark=True)(peaks, geom), Rings()(peaks, geom)
    assert np.array_equal(marked.fs, peaks.fs)
    assert marked.num_on_rings == taken.num_on_rings > 0


def test_only_rings_that_are_named_count() -> None:
    peaks, geom, is_ice = on_and_off()
    left = Rings(rings="3.669")(peaks, geom)
    d = 1 / np.linalg.norm(geom.q_per_angstrom(peaks.panel, peaks.fs, peaks.ss), axis=1)
    gone = ~np.isin(peaks.intensity, left.intensity)
    assert np.array_equal(gone, np.abs(3.669 / d - 1) <= 0.007)
    assert 0 < gone.sum() < is_ice.sum()


def test_peaks_that_lie_on_no_ring_are_handed_on_as_they_are() -> None:
    peaks, geom, is_ice = on_and_off()
    free = peaks.select(~is_ice)
    assert Rings(rings="500")(free, geom) is free
    nothing = peaks.select(np.zeros(len(peaks), bool))
    assert Rings()(nothing, geom) is nothing


@given(st.lists(st.floats(0.5, 100.0), min_size=1, max_size=4), st.floats(0.05, 5.0))
def test_a_ring_reaches_as_far_as_its_width_says(spacings: list[float], width: float) -> None:
    stage = Rings(rings=", ".join(map(repr, spacings)), width_percent=width)
    assert stage.spacings_angstrom == tuple(spacings)
    one = 1 / np.array(spacings)
    assert stage.on_rings(one).all()
    assert stage.on_rings(one * (1 + 0.0099 * width)).all()
    assert stage.on_rings(one * (1 - 0.0099 * width)).all()
    assert not stage.on_rings(np.array([one.min() * (1 - 0.0101 * width), one.max() * (1 + 0.0101 * width)])).any()


def test_ice_and_other_spacings_may_stand_together() -> None:
    assert Rings(rings="Ice 3.26,2.82").spacings_angstrom == (*ICE_ANGSTROM, 3.26, 2.82)


@pytest.mark.parametrize("text", ["", " , ", "snow", "3.9,-1", "0", "nan", "inf", "3.9;3.6"])
def test_what_is_no_spacing_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="Angstrom"):
        Rings(rings=text)
