"""peaks/rings takes out, or counts, peaks on powder rings of known spacings."""

from __future__ import annotations

import numpy as np
import pydantic
import pytest

from stages.peaks.rings import Rings
from stages.records.peaklist import PeakList
from stages.simulation.powder import ICE_ANGSTROM, rings
from stages.simulation.spot_lists import XRAYS, noise


def listed(q: np.ndarray) -> tuple[PeakList, object]:
    return XRAYS.peaks_of(q, np.arange(len(q), dtype=float))


def test_peaks_on_the_rings_of_ice_go_and_the_others_stay_in_their_order() -> None:
    rng = np.random.default_rng(1)
    q = np.concatenate([rings(rng, 40, ICE_ANGSTROM[:3], 0.5), noise(rng, 60)])
    peaks, geom = listed(q)
    left = Rings()(peaks, geom)
    on = Rings().on_rings(np.linalg.norm(q, axis=1))
    assert on[:40].all()
    assert np.array_equal(left.intensity, peaks.intensity[~on])
    assert left.num_on_rings == on.sum()
    assert left.counts()["peaks_on_rings"] == on.sum()


def test_marked_peaks_stay_and_are_counted() -> None:
    rng = np.random.default_rng(2)
    peaks, geom = listed(rings(rng, 30, (3.26,), 0.3))
    marked = Rings(rings="3.26", mark=True)(peaks, geom)
    assert len(marked) == 30
    assert marked.num_on_rings == 30


def test_a_list_without_such_peaks_is_handed_on_as_it_is() -> None:
    peaks, geom = listed(rings(np.random.default_rng(3), 10, (10.0,), 0.3))
    assert Rings()(peaks, geom) is peaks
    empty = PeakList.make([], [], [], [])
    assert Rings()(empty, geom) is empty


@pytest.mark.parametrize("text", ["snow", "-3", "0", "nan", "", " , ", "3.67 A"])
def test_what_is_no_spacing_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="spacing"):
        Rings(rings=text)


def test_ice_and_other_spacings_may_be_named_together() -> None:
    assert {3.897, 3.669, 3.441, 3.26, 2.82} < set(Rings(rings="3.26,ice 2.82").spacings_angstrom)
