"""Changes of a geometry file: the file is otherwise as it was, and says afterwards what it was to say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.files.geom.detector import Detector
from stages.files.geom.displaced import displacement_edits
from stages.files.geom.edits import Edit, with_edits
from stages.records import Displacement, Header

SMALL = """\
; measured by tape
photon_energy = {energy}
clen = {clen} ; from the flange
res = 10000
adu_per_photon = 1
data = detector_data
{more}
; the left half
a/min_fs = 0
a/max_fs = 99
a/min_ss = 0
a/max_ss = 149
a/corner_x = -110.5
a/corner_y = -75
a/fs = x
a/ss = y
b/min_fs = 100
b/max_fs = 199
b/min_ss = 0
b/max_ss = 149
b/corner_x = 8
b/corner_y = -72
b/fs = 0.9999x -0.01y
b/ss = +0.01x +0.9999y
b/coffset = 0.0005
bad_stop/min_x = -10
bad_stop/max_x = 10
bad_stop/min_y = -10
bad_stop/max_y = 10
"""
FILES = {
    "literal": SMALL.format(energy="9500 eV", clen="0.1", more=""),
    "with a shift": SMALL.format(
        energy="9500 eV", clen="100 mm", more="detector_shift_x = 0.3 mm\ndetector_shift_y = -0.0002"
    ),
    "distance by key": SMALL.format(energy="beam_energy eV", clen="distance mm", more="coffset = 0.001\n"),
    "shift by key": SMALL.format(
        energy="9500 eV", clen="0.1 m", more="detector_shift_x = dx m\ndetector_shift_y = dy m"
    ),
    "one shift": SMALL.format(energy="9500 eV", clen="0.1 m", more="detector_shift_y = 0.1 mm"),
}
HEADER = Header({"beam_energy": 9000.0, "distance": 120.0, "dx": 0.0, "dy": 0.0})
WITHOUT_ENERGY = "LCLS__CSPAD-140k-2x2__2c22d776.geom"

metres = st.floats(-2e-3, 2e-3)
displacements = st.builds(
    Displacement,
    st.tuples(metres, metres),
    st.floats(-0.01, 0.01) | st.just(0.0),
    st.tuples(st.floats(-0.01, 0.01), st.floats(-0.01, 0.01)) | st.just((0.0, 0.0)),
)


def corrected(detector: Detector, move: Displacement) -> str:
    return with_edits(detector.text, displacement_edits(detector, move, "found"))


def assert_stands_as_displaced(detector: Detector, move: Displacement, header: Header) -> None:
    now = Detector.parse(corrected(detector, move)).geom_for(header)
    wanted = detector.geom_for(header).displaced(move)
    np.testing.assert_allclose(now.origin_m, wanted.origin_m, rtol=0, atol=1e-9)
    for steps in ("fs_m", "ss_m"):
        np.testing.assert_allclose(getattr(now, steps) * 1000, getattr(wanted, steps) * 1000, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=30)
@given(move=displacements)
def test_the_corrected_file_puts_the_detector_where_it_was_found(name: str, move: Displacement) -> None:
    assert_stands_as_displaced(Detector.parse(FILES[name]), move, HEADER)


@pytest.mark.shared_data
@pytest.mark.parametrize(
    "move",
    [Displacement((1.1e-3, -7e-5)), Displacement(along_m=-4e-3), Displacement((-2e-4, 3e-4), 6e-3, (0.008, -0.005))],
)
def test_so_do_those_of_facilities(shared_data: Path, move: Displacement) -> None:
    files = [path for path in sorted((shared_data / "geom").glob("*.geom")) if path.name != WITHOUT_ENERGY]
    assert len(files) > 10
    for path in files:
        detector = Detector.load(path)
        assert_stands_as_displaced(detector, move, Header(dict.fromkeys(detector.header_keys, 500.0)))


@pytest.mark.shared_data
def test_a_shift_and_a_distance_change_three_lines_of_a_file_however_many_panels_it_has(shared_data: Path) -> None:
    detector = Detector.load(shared_data / "geom" / "EuXFEL-FXE__LPD-1M__2a685e6d.geom")
    before = detector.text.splitlines()
    after = corrected(detector, Displacement((1e-4, -2e-4), 0.003)).splitlines()
    new = [line for line in after if line not in before]
    assert [line.partition(" ;")[0] for line in new] == [
        "clen = 0.216 m",
        "detector_shift_x = 0.0001 m",
        "detector_shift_y = -0.0002 m",
    ]
    assert [line for line in before if line not in after] == ["clen = 0.213"]


@settings(max_examples=30)
@given(move=displacements)
def test_what_is_not_changed_stays_as_it_is_and_what_changes_says_what_it_was(move: Displacement) -> None:
    text = FILES["with a shift"]
    after = corrected(Detector.parse(text), move).splitlines()
    rest = iter(after)
    for line in text.splitlines():
        assert any(found == line or found.endswith(f" ; found; was: {line}") for found in rest), line
    assert len(after) == len(text.splitlines()) + sum(line.startswith("a/coffset") for line in after)


def test_no_displacement_changes_nothing() -> None:
    for text in FILES.values():
        assert corrected(Detector.parse(text), Displacement()) == text


def test_a_shift_that_comes_with_each_frame_goes_into_the_corners() -> None:
    text = corrected(Detector.parse(FILES["shift by key"]), Displacement((2e-4, 0.0)))
    assert re.findall(r"^(\w+/corner_x = \S+)", text, re.M) == ["a/corner_x = -108.5", "b/corner_x = 10"]
    assert "detector_shift_x = dx m\n" in text
    moved = Detector.parse(text).geom_for(Header({"dx": 1e-3, "dy": 0.0}))
    assert moved.origin_m[0, 0] == pytest.approx((-110.5 + 2) / 10000 + 1e-3)


def test_a_distance_that_comes_with_each_frame_goes_into_coffset_where_it_stands() -> None:
    text = corrected(Detector.parse(FILES["distance by key"]), Displacement(along_m=-0.002))
    assert re.findall(r"^(\S*coffset = \S+)", text, re.M) == [
        "coffset = 0.001",
        "a/coffset = -0.001",
        "b/coffset = -0.0015",
    ]


def test_a_distance_that_comes_with_each_frame_is_one_line_where_all_panels_are_alike() -> None:
    text = FILES["distance by key"].replace("b/coffset = 0.0005\n", "")
    lines = corrected(Detector.parse(text), Displacement(along_m=-0.002)).splitlines()
    assert [line for line in lines if "coffset" in line] == ["coffset = -0.001 ; found; was: coffset = 0.001"]


def test_a_directive_of_all_panels_reaches_panels_that_have_their_own() -> None:
    text = FILES["literal"].replace("b/coffset", "b/adu_per_photon = 3\nb/coffset")
    detector = Detector.parse(with_edits(text, [Edit("adu_per_photon", "25", "the noise says so")]))
    assert [detector.geom_for(HEADER).adu_per_photon(panel) for panel in (0, 1)] == [25.0, 25.0]
    by_energy = with_edits(text, [Edit("adu_per_eV", "0.002", "as the noise says")])
    panels = Detector.parse(by_energy).static_panels
    assert [panel.adu_per_ev for panel in panels] == [0.002, 0.002]
    assert "b/adu_per_eV = 0.002 ; as the noise says; was: b/adu_per_photon = 3" in by_energy


def test_a_flag_is_added_to_those_that_are_there() -> None:
    text = (
        FILES["literal"]
        .replace("data =", "flag_equal = -1\ndata =")
        .replace("b/coffset", "b/flag_equal = 7\nb/coffset")
    )
    detector = Detector.parse(with_edits(text, [Edit("flag_equal", "65535", "gaps")]))
    assert [panel.flag_equal for panel in detector.static_panels] == [(-1.0, 65535.0), (-1.0, 65535.0, 7.0)]


def test_a_bad_region_is_made_at_the_end_and_changed_where_it_stands() -> None:
    new = [Edit(f"badrow/{key}", value, "hot") for key, value in
           {"panel": "a", "min_fs": "0", "max_fs": "99", "min_ss": "7", "max_ss": "7"}.items()]  # fmt: skip
    text = with_edits(FILES["literal"], [*new, Edit("bad_stop/max_x", "20", "the shadow is wider")])
    regions = {region.name: region for region in Detector.parse(text).bad_regions}
    assert regions["badrow"].fs == (0, 99)
    assert regions["badrow"].ss == (7, 7)
    assert regions["bad_stop"].x == (-10.0, 20.0)
    assert text.splitlines()[-5].startswith("badrow/panel = a ; hot")


def test_a_panel_gets_what_it_has_by_default() -> None:
    text = with_edits(FILES["literal"], [Edit("a/no_index", "1", "dead"), Edit("b/adu_per_photon", "2", "gain")])
    detector = Detector.parse(text)
    assert [panel.no_index for panel in detector.static_panels] == [True, False]
    assert [panel.adu_per_photon for panel in detector.static_panels] == [1.0, 2.0]


def test_the_energy_is_said_once_whatever_said_it_before() -> None:
    text = FILES["literal"].replace("photon_energy = 9500 eV", "wavelength = 1305 A")
    text = with_edits(text, [Edit("photon_energy", "9500 eV", "keV was meant")])
    detector = Detector.parse(text)
    assert detector.geom_for(HEADER).photon_energy_ev == 9500.0
    assert not detector.warnings


def test_of_two_changes_of_one_directive_the_later_one_holds() -> None:
    text = with_edits(FILES["literal"], [Edit("clen", "0.2 m", "one"), Edit("clen", "0.3 m", "two")])
    assert Detector.parse(text).geom_for(HEADER).origin_m[0, 2] == pytest.approx(0.3)


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_ends_of_lines_and_a_byte_order_mark_stay(end: str) -> None:
    text = "\ufeff" + FILES["literal"].rstrip("\n").replace("\n", end)
    after = with_edits(text, [Edit("max_adu", "9000", "saturation"), Edit("a/no_index", "1", "dead")], ["corrected"])
    assert after.startswith(f"\ufeff; corrected{end}; measured by tape{end}")
    assert f"data = detector_data{end}max_adu = 9000 ; saturation{end}" in after
    assert "\n" not in after.replace(end, "")
    assert Detector.parse(after).static_panels[0].max_adu == 9000.0


def test_a_comment_cannot_break_its_line() -> None:
    text = with_edits(FILES["literal"], [Edit("clen", "0.2", "two\nlines\r= and more")], ["first\nsecond"])
    assert "clen = 0.2 ; two lines = and more; was: clen = 0.1 ; from the flange\n" in text
    assert text.startswith("; first second\n")
    Detector.parse(text)
