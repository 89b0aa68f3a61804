"""What --int-diag shows of how reflections were integrated, recounted from what is shown."""

from __future__ import annotations

import numpy as np
import pydantic
import pytest
from detectors_and_crystals import detector

from pipeline import Context
from pipeline.frame import Frame
from stages.integrate.prof2d import Prof2d
from stages.integrate.rings import Rings
from stages.live.int_diag import IntDiag
from stages.records.crystal import Crystal, Crystals, Reflections
from stages.records.diagnosis import BAD, CIRCLE, CLAIMED, OUTSIDE, RING
from stages.records.image import Image

PLACES = [(0, 20.5, 30.5), (0, 50.2, 30.7), (0, 56.5, 30.5), (0, 80.5, 30.5), (0, 3.5, 30.5)]
"""One strong, two that overlap, one in a hole, one whose box leaves the panel."""


def reflections():
    panel, fs, ss = np.array(PLACES, float).T
    hkl = np.array([(1, 0, 0), (2, 0, 0), (3, 0, 0), (4, -5, 6), (5, 0, 0)], np.int32)
    return Reflections(hkl, panel.astype(np.int32), fs.copy(), ss.copy(), *[np.zeros(len(hkl))] * 6)


def frame():
    rng = np.random.default_rng(4)
    array = rng.poisson(40.0, (60, 100)).astype(float)
    array[29:32, 19:22] += 300.0
    array[28:33, 78:83] = 0.0
    array[31, 56] = 5000.0
    return array.round()


def shown(stage, array=None):
    geom = detector((1, 1), (100, 60), max_adu=4000.0)
    array = frame() if array is None else array
    return stage.open(Context())._integrate([reflections()], geom, Image.of(d=array))[0]


def hkls(found):
    return [one.hkl[0] for one in found.diagnoses]


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ("none", []),
        ("all", [1, 2, 3, 4]),
        ("strong", [1, 2, 3]),
        ("negative", [4]),
        ("implausible", [4]),
        ("4,-5,6", [4]),
        ("(5,0,0)", [5]),
        ("9,9,9", []),
    ],
)
def test_a_condition_chooses_reflections_and_changes_none(condition, wanted):
    array = frame()
    array[28:33, 48:52] += 100.0
    found, plain = shown(Rings(int_diag=condition), array), shown(Rings(), array)
    assert hkls(found) == wanted
    np.testing.assert_array_equal(found.intensity, plain.intensity)
    assert plain.diagnoses == ()


@pytest.mark.parametrize(
    "stage", [Rings(int_diag="all", correct_tails=False), Rings(int_diag="all", grad=True, cen=True)]
)
def test_the_numbers_follow_from_the_pixels_that_are_shown(stage):
    found = shown(stage)
    for one in found.diagnoses:
        half = len(one.pixels) // 2
        dy, dx = np.mgrid[-half : half + 1, -half : half + 1]
        a, b, c = one.plane
        net = one.pixels - (a + b * dx + c * dy)
        if not stage.grad:
            assert one.plane[0] == pytest.approx(one.pixels[one.kinds == RING].mean())
            assert one.intensity == pytest.approx(net[one.kinds == CIRCLE].sum())
        free = (one.kinds == RING).sum() - (3 if stage.grad else 1)
        assert one.variance == pytest.approx((net[one.kinds == RING] ** 2).sum() / free)
        assert one.text().count("\n") == len(one.pixels) + 1
    kept = {tuple(hkl): value for hkl, value in zip(found.hkl.tolist(), found.intensity, strict=True)}
    for one in found.diagnoses:
        if one.verdict == "kept":
            assert kept[one.hkl] == pytest.approx(one.intensity)


def test_what_was_left_out_is_called_by_its_reason():
    verdicts = {one.hkl[0]: one.verdict for one in shown(Rings(int_diag="all")).diagnoses}
    assert verdicts == {1: "kept", 2: "kept", 3: "saturated", 4: "implausible"}
    (one,) = shown(Rings(int_diag="5,0,0")).diagnoses
    assert one.verdict == "not measured"
    assert (one.kinds == OUTSIDE).sum() == 4 * 15
    assert np.isnan(one.pixels[one.kinds == OUTSIDE]).all()


def test_pixels_that_others_claim_and_bad_ones_are_marked():
    array = frame()
    array[33, 20] = np.nan
    (one,) = shown(Rings(int_diag="2,0,0"), array).diagnoses
    assert (one.kinds == CLAIMED).sum() > 10
    (one,) = shown(Rings(int_diag="1,0,0"), array).diagnoses
    assert one.verdict == "not measured"
    assert (one.kinds == BAD).sum() == 1
    assert "x" in one.text()


def test_profile_fitting_shows_its_own_intensities():
    found = shown(Prof2d(int_diag="strong"))
    kept = {tuple(hkl): value for hkl, value in zip(found.hkl.tolist(), found.intensity, strict=True)}
    (one,) = (one for one in found.diagnoses if one.hkl == (1, 0, 0))
    assert one.intensity == pytest.approx(kept[1, 0, 0])


def test_so_many_are_shown_at_most_over_all_frames():
    geom = detector((1, 1), (100, 60), max_adu=4000.0)
    running = Rings(int_diag="all", int_diag_most=6).open(Context())
    nums = [len(running._integrate([reflections()], geom, Image.of(d=frame()))[0].diagnoses) for _ in range(3)]
    assert nums == [4, 2, 0]


def test_a_hundredth_is_chosen_at_random():
    geom = detector((1, 1), (100, 60), max_adu=4000.0)
    running = Rings(int_diag="random", int_diag_most=1000).open(Context())
    num = sum(len(running._integrate([reflections()], geom, Image.of(d=frame()))[0].diagnoses) for _ in range(1500))
    assert 35 < num < 90  # of 6000


@pytest.mark.parametrize("text", ["sometimes", "1,2", "1,2,3,4", "a,b,c", ""])
@pytest.mark.parametrize("stage", [Rings, Prof2d])
def test_what_is_no_condition_is_refused(stage, text):
    with pytest.raises(pydantic.ValidationError, match="is no condition"):
        stage(int_diag=text)


def test_the_report_has_them_with_the_names_of_their_frames():
    sink = IntDiag(most=5)
    encode, writer = sink.open(Context()), sink.open_writer(Context())
    assert writer.findings().figures == {"chosen": 0, "reflections": []}
    crystal = Crystal(np.eye(3) * 50.0, reflections=shown(Rings(int_diag="all")))
    for serial in (3, 4):
        writer.write(encode(Frame(serial, f"run // {serial}").with_values(Crystals((crystal,)))))
    assert encode(Frame(5, "").with_values(Crystals(()))) is None
    assert writer.status() == "8 reflections shown"
    found = writer.findings()
    assert found.text.startswith("8 reflections chosen; pixels in ADU")
    assert "frame 3 (run // 3), reflection 1 0 0 on p0" in found.text
    assert [(one["serial"], one["hkl"][0]) for one in found.figures["reflections"]] == [
        (3, 1),
        (3, 2),
        (3, 3),
        (3, 4),
        (4, 1),
    ]
