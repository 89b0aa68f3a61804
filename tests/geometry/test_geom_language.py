"""The language of geometry files: what is read, what is refused, what is warned of."""

from __future__ import annotations

import contextlib
import math
import pickle

import pytest
from geom_texts import HEAD, panel

from pipeline import UserError
from stages.files.geom.detector import Detector
from stages.records import Header


def refusal(text: str) -> str:
    with pytest.raises(UserError) as caught:
        Detector.parse(text, "x.geom")
    return str(caught.value)


def notes(text: str) -> list[str]:
    return [str(note) for note in Detector.parse(text, "x.geom").warnings]


def test_a_default_holds_for_panels_first_mentioned_after_it() -> None:
    text = HEAD + panel("a") + "max_adu = 50\nres = 5000\n" + panel("b") + "a/coffset = 0.5\n"
    a, b = Detector.parse(text).panels
    assert (a.panel.max_adu, a.res_per_m, a.coffset_m) == (math.inf, 10000, 0.5)
    assert (b.panel.max_adu, b.res_per_m, b.coffset_m) == (50, 5000, 0.0)


def test_a_default_is_overruled_by_the_panel_itself_wherever_it_says_so() -> None:
    detector = Detector.parse(
        "no_index = 1\nmask_edge_pixels = 3\n" + HEAD + panel("a", no_index="false", mask_edge_pixels=1)
    )
    assert not detector.panels[0].panel.no_index
    assert detector.panels[0].mask_edge_pixels == 1


def test_every_panel_directive_may_be_a_default() -> None:
    ranges = (
        "min_fs = 0\nmax_fs = 7\nmin_ss = 0\nmax_ss = 5\ncorner_x = 1\ncorner_y = 2\nfs = x\nss = y\ncoffset = 0.01\n"
    )
    detector = Detector.parse(HEAD + ranges + "a/no_index = 0\n")
    assert (detector.panels[0].panel.width, detector.panels[0].corner_px, detector.panels[0].coffset_m) == (
        8,
        (1, 2),
        0.01,
    )


def test_panels_keep_the_order_in_which_they_are_first_mentioned() -> None:
    text = HEAD + "late/coffset = 0\n" + panel("early") + panel("late")
    assert [p.panel.name for p in Detector.parse(text).panels] == ["late", "early"]


def test_comments_blank_lines_tabs_and_carriage_returns_mean_nothing() -> None:
    text = (
        ("; all\n\n  \t; this\n" + HEAD + panel())
        .replace("res = 10000", "\tres\t=\t10000 ; pixels = per metre")
        .replace("\n", "\r\n")
    )
    assert Detector.parse(text).panels[0].res_per_m == 10000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", (1, 0, 0)),
        ("-y", (0, -1, 0)),
        ("+1.5x -2y +z", (1.5, -2, 1)),
        ("-0.001x + 0.99999y - .5z", (-0.001, 0.99999, -0.5)),
        ("x+x", (2, 0, 0)),
        ("y 	-0.25x", (-0.25, 1, 0)),
    ],
)
def test_directions_are_sums_of_multiples_of_the_axes(text: str, expected: tuple[float, float, float]) -> None:
    ss = "z" if expected[2] == 0 else "y +x -z"
    assert Detector.parse(HEAD + panel(fs=text, ss=ss)).panels[0].fs_px == pytest.approx(expected)


@pytest.mark.parametrize("text", ["1", "xy", "1e-3x", "2*x", "x y", "1.2.3x", "--x", "0x", "q"])
def test_a_direction_that_is_none_is_refused(text: str) -> None:
    assert "x.geom:12: directive 'p0/fs': the value" in refusal(HEAD + panel(fs=text))


@pytest.mark.parametrize(
    ("line", "ev"),
    [
        ("photon_energy = 9500", 9500),
        ("photon_energy = 9500 eV", 9500),
        ("photon_energy = 9.5 keV", 9500),
        ("photon_energy = 0.0095 MeV", 9500),
        ("wavelength = 1.0 A", 12398.419843320026),
        ("wavelength = 1e-10 m", 12398.419843320026),
        # the textbook's relativistic electron wavelength at 200 kV is 0.0250793 A
        ("electron_voltage = 200 kV", 12398.419843320026 / 0.0250793),
        ("electron_voltage = 200000 V", 12398.419843320026 / 0.0250793),
    ],
)
def test_the_energy_may_be_given_in_each_way_and_unit(line: str, ev: float) -> None:
    detector = Detector.parse(HEAD.replace("photon_energy = 10000 eV", line) + panel())
    assert detector.geom_for(Header({})).photon_energy_ev == pytest.approx(ev, rel=1e-5)


@pytest.mark.parametrize(
    ("line", "value", "ev"),
    [
        ("photon_energy = /LCLS/photon_energy_eV", 9500, 9500),
        ("photon_energy = e eV", "9500.0", 9500),
        ("photon_energy = e keV", 9.5, 9500),
        ("wavelength = e A", 2, 12398.419843320026 / 2),
        ("wavelength = e m", 2e-10, 12398.419843320026 / 2),
        ("electron_voltage = e kV", 300, 12398.419843320026 / 0.0196875),
    ],
)
def test_the_energy_may_come_with_each_frame(line: str, value: object, ev: float) -> None:
    detector = Detector.parse(HEAD.replace("photon_energy = 10000 eV", line) + panel())
    (key,) = detector.header_keys
    assert detector.geom_for(Header({key: value})).photon_energy_ev == pytest.approx(ev, rel=1e-5)


@pytest.mark.parametrize(
    ("line", "header", "metres"),
    [
        ("clen = 0.12", {}, 0.12),
        ("clen = 0.12 m", {}, 0.12),
        ("clen = 120 mm", {}, 0.12),
        ("clen = distance", {"distance": 120}, 0.12),  # a key without unit counts mm, a number without unit m
        ("clen = distance mm", {"distance": 120.0}, 0.12),
        ("clen = /LCLS/distance m", {"/LCLS/distance": "0.12"}, 0.12),
    ],
)
def test_the_camera_length_is_read_as_crystfel_reads_it(line: str, header: dict[str, object], metres: float) -> None:
    geom = Detector.parse(HEAD.replace("clen = 0.1 m", line) + panel(coffset=0.01)).geom_for(Header(header))
    assert geom.clen_m == pytest.approx([metres])
    assert geom.origin_m[0, 2] == pytest.approx(metres + 0.01)
    assert geom.mean_clen_m == pytest.approx(metres + 0.01)


def test_the_detector_shift_counts_metres_unless_it_says_otherwise() -> None:
    text = HEAD + "detector_shift_x = 1 mm\ndetector_shift_y = dy\n" + panel()
    geom = Detector.parse(text).geom_for(Header({"dy": -0.002}))
    assert geom.shift_m == pytest.approx((0.001, -0.002))
    assert geom.origin_m[0, :2] == pytest.approx([-4e-4 + 0.001, -3e-4 - 0.002])


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("photon_energy = 9.5 kev", "photon_energy knows eV, keV, MeV; did you mean 'keV'?"),
        ("wavelength = 1.0", "has no unit; wavelength needs one of A, m"),
        ("electron_voltage = key", "has no unit"),
        ("photon_energy = 0", "should be above 0"),
        ("photon_energy = beam energy eV", "more than two words"),
        ("photon_energy = 9500eV", "between number and unit stands a space: '9500 eV'"),
        ("clen = 12 cm", "clen knows m, mm"),
        ("clen = inf m", "finite"),
        ("bandwidth = much", "should be a number"),
        ("bandwidth = 2", "fraction"),
        ("peak_list_type = cxl", "did you mean 'cxi'?"),
        ("res = zero", "should be a number"),
        ("res = 0", "above 0"),
        ("adu_per_eV = -1", "above 0"),
        ("adu_per_photon = inf", "finite"),
        ("min_fs = 0.5", "whole number"),
        ("min_fs = -1", "below 0"),
        ("dim0 = slow", "should be ss, fs, %"),
        ("dim = ss", "dim0, dim1"),
        ("dim99 = ss", "at most 16"),
        ("no_index = maybe", "should be a number"),
        ("max_adu = info", "should be a number"),
        ("mask8_file = x.h5", "mask0_data to mask7_badbits"),
        ("mask_goood = 1", "did you mean 'mask_good'?"),
        ("mask_data = /x", "belongs to no mask directive"),
        ("mask1_data = nowhere", "begins with '/'"),
        ("mask1_badbits = 0xg", "should be"),
        ("flag_equal = nan", "NaN pixels are always bad"),
        ("mask_edge_pixels = 1.5", "whole number"),
    ],
)
def test_a_wrong_value_is_refused_naming_file_line_directive_and_what_was_wanted(line: str, wanted: str) -> None:
    told = refusal(line + "\n" + HEAD + panel())
    assert told.startswith(f"x.geom:1: directive '{line.split(maxsplit=1)[0]}': the value ")
    assert wanted in told


def test_all_problems_of_a_file_are_told_at_once() -> None:
    told = refusal(HEAD + "res = none\n" + panel("a", fs="q", max_ss=None) + "just words\nb/data =\n")
    assert [line.split(" ")[0] for line in told.splitlines()] == [
        "x.geom:6:",
        "x.geom:7:",
        "x.geom:12:",
        "x.geom:14:",
        "x.geom:15:",
    ]
    assert "panel 'a' lacks fs, max_ss" in told
    assert "expected 'directive = value'" in told
    assert "'b/data' has no value" in told


@pytest.mark.parametrize("directive", ["fs", "ss", "min_fs", "max_fs", "min_ss", "max_ss", "corner_x", "corner_y"])
def test_a_panel_without_something_necessary_is_refused(directive: str) -> None:
    assert refusal(HEAD + panel(**{directive: None})) == f"x.geom:6: panel 'p0' lacks {directive}"


def test_a_gain_a_pixel_size_and_a_camera_length_are_necessary() -> None:
    assert "lacks adu_per_photon or adu_per_eV" in refusal(HEAD.replace("adu_per_photon = 1\n", "") + panel())
    assert "lacks res" in refusal(HEAD.replace("res = 10000\n", "") + panel())
    assert "no directive 'clen'" in refusal(HEAD.replace("clen = 0.1 m\n", "") + panel())
    assert "there is no panel" in refusal(HEAD)


def test_a_misspelt_panel_is_suggested() -> None:
    assert "did you mean 'thepanel'?" in refusal(HEAD + panel("thepanel") + "thepannel/coffset = 0\n")


def test_a_file_without_energy_can_be_looked_at_but_not_used() -> None:
    detector = Detector.parse(HEAD.replace("photon_energy = 10000 eV\n", "") + panel(), "x.geom")
    for use in (detector.prepare, lambda: detector.geom_for(Header({}))):
        with pytest.raises(
            UserError, match=r"x\.geom: no directive gives the photon energy.*photon_energy = beam_energy eV"
        ):
            use()


def test_a_camera_length_that_is_not_above_zero_is_refused_before_the_first_frame() -> None:
    with pytest.raises(UserError, match="'clen'"):
        Detector.parse(HEAD.replace("0.1 m", "-0.1 m") + panel()).prepare()
    Detector.parse(HEAD.replace("0.1 m", "-0.1 m") + panel(coffset=0.3)).prepare()


def test_a_saturation_map_is_refused_and_not_silently_left_out() -> None:
    detector = Detector.parse(HEAD + "saturation_map = /sat\n" + panel(), "x.geom")
    assert any("not supported" in str(note) for note in detector.warnings)
    with pytest.raises(UserError, match="saturation map, which is not supported"):
        detector.prepare()


def test_clen_of_a_panel_is_refused_as_crystfel_refuses_it() -> None:
    assert "CrystFEL 0.12 takes one clen" in refusal(HEAD + panel(clen="0.1"))


def test_a_default_after_the_last_panel_is_refused_as_crystfel_refuses_it() -> None:
    told = refusal(HEAD + panel() + "max_adu = 5\n")
    assert told.startswith("x.geom:14: directive 'max_adu' has no effect here")


def test_directives_of_the_whole_file_may_stand_after_the_last_panel() -> None:
    text = (
        HEAD.replace("photon_energy = 10000 eV\n", "")
        + panel()
        + "photon_energy = 5000\npeak_list = /entry/peaks\nbandwidth = 0.01\n"
    )
    detector = Detector.parse(text)
    geom = detector.geom_for(Header({}))
    assert (geom.photon_energy_ev, geom.peak_list, geom.bandwidth) == (5000, "/entry/peaks", 0.01)


def test_the_bandwidth_is_crystfels_where_the_file_gives_none() -> None:
    assert Detector.parse(HEAD + panel()).geom_for(Header({})).bandwidth == 1e-8


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("foton_energy = 3", "x.geom:1: unknown directive 'foton_energy' is ignored; did you mean 'photon_energy'?"),
        ("Res = 3", "x.geom:1: unknown directive 'Res' is ignored; did you mean 'res'?"),
        ("quite_other = 3", "x.geom:1: unknown directive 'quite_other' is ignored"),
        ("badrow_direction = -", "x.geom:1: badrow_direction is ignored, as in CrystFEL"),
        ("res = 10000 px/m", "x.geom:1: res takes a number alone; 'px/m' after it is not read (nor is it by CrystFEL)"),
        ("photon_energy = 5 keV", "x.geom:2: photon_energy replaces the photon_energy given before"),
        ("\ufeffclen = 1 m", "x.geom:1: the file begins with a byte order mark, which other programs stumble over"),
    ],
)
def test_what_is_ignored_is_told(line: str, told: str) -> None:
    assert told in notes(line + "\n" + HEAD + panel())


def test_an_unknown_directive_of_a_panel_is_told_once_however_often_it_comes() -> None:
    text = HEAD + panel("a", max_ad=1) + panel("b", max_ad=1) + panel("c", wavelength="1 A")
    assert notes(text) == [
        "x.geom:14: unknown directive 'max_ad' of a panel is ignored; did you mean 'max_adu'? (and 1 lines more like it)",
        "x.geom:32: unknown directive 'wavelength' of a panel is ignored; "
        "it concerns the whole file and stands without a panel's name",
    ]


def test_a_clean_file_gives_no_warnings() -> None:
    assert notes(HEAD + panel()) == []


def test_the_gain_given_last_counts() -> None:
    a, b = Detector.parse(HEAD + panel("a") + panel("b", adu_per_eV=0.5)).geom_for(Header({})).panels
    assert (a.adu_per_photon, math.isnan(a.adu_per_ev)) == (1.0, True)
    assert b.adu_per_ev == 0.5
    assert Detector.parse(HEAD + panel("b", adu_per_eV=0.5)).geom_for(Header({})).adu_per_photon(0) == 5000


@pytest.mark.parametrize(
    ("value", "expected"), [("true", True), ("TRUE", True), ("false", False), ("1", True), ("0", False), ("2", True)]
)
def test_no_index_is_a_truth_value_or_a_number(value: str, expected: bool) -> None:
    assert Detector.parse(HEAD + panel(no_index=value)).panels[0].panel.no_index is expected


def test_flags_of_the_defaults_and_of_the_panel_add_up() -> None:
    text = (
        HEAD
        + "flag_lessthan = -5\nflag_equal = 7\n"
        + panel("a")
        + panel("b", flag_lessthan=-1, flag_morethan=100, flag_equal=8)
    )
    a, b = (p.panel for p in Detector.parse(text).panels)
    assert (a.flag_lessthan, a.flag_morethan, a.flag_equal) == (-5, math.inf, (7,))
    assert (b.flag_lessthan, b.flag_morethan, b.flag_equal) == (-1, 100, (7, 8))


def test_a_seventeenth_flag_value_is_refused() -> None:
    assert "at most 16" in refusal(HEAD + "flag_equal = 3\n" * 17 + panel())


def test_dims_say_where_a_panel_lies_in_an_array_of_more_dimensions() -> None:
    text = HEAD + "dim0 = %\ndim2 = ss\ndim3 = fs\n" + panel("a", dim1=0) + panel("b", dim1=3)
    assert [p.panel.dims for p in Detector.parse(text).panels] == [("%", 0, "ss", "fs"), ("%", 3, "ss", "fs")]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("dim0 = fs\ndim1 = ss\n", "fs should be a later dimension than ss"),
        ("dim1 = ss\n", "exactly one dimension should be fs and one ss"),
        ("dim3 = 1\n", "a dimension is missing among dim0 = ss, dim1 = fs, dim2 = None, dim3 = 1"),
    ],
)
def test_dims_that_make_no_image_are_refused(lines: str, told: str) -> None:
    assert told in refusal(HEAD + lines + panel())


def test_fs_and_ss_must_span_the_panel_and_its_range_must_not_be_empty() -> None:
    assert "fs and ss have the same direction" in refusal(HEAD + panel(fs="x", ss="-2x"))
    assert "max_fs = 3 is below min_fs = 5" in refusal(HEAD + panel(min_fs=5, max_fs=3))


def test_groups_may_be_given_before_their_panels_but_in_order_among_themselves() -> None:
    detector = Detector.parse(
        "group_q0 = a,b\ngroup_all = q0, c\nrigid_group_q0 = nobody\n" + HEAD + panel("a") + panel("b") + panel("c")
    )
    assert [(g.name, g.members) for g in detector.groups] == [("q0", ("a", "b")), ("all", ("q0", "c"))]
    assert detector.warnings == ()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("group_q = a,pB", "names 'pB', which is no panel and no group defined before"),
        ("group_q = a,a", "names a member twice"),
        ("group_a = b", "has the name of a panel"),
        ("group_q = ,", "has no members"),
        ("group_all = q\ngroup_q = a", "names 'q'"),
    ],
)
def test_a_group_that_is_wrong_is_refused(line: str, told: str) -> None:
    assert told in refusal(line + "\n" + HEAD + panel("a") + panel("b"))


@pytest.mark.parametrize("name", ["group_a", "rigid_group", ""])
def test_a_panels_name_must_not_look_like_something_else(name: str) -> None:
    assert "may not be empty or begin with" in refusal(HEAD + panel() + f"{name}/coffset = 0\n")


@pytest.mark.parametrize(
    "text",
    ["", "\n\n; only comments\n", "<html><body>not found</body></html>", "CrystFEL stream format 2.3\n", "a cell\n"],
)
def test_a_text_that_is_no_geometry_file_is_refused_as_such(text: str) -> None:
    assert "not a geometry file" in refusal(text)


def test_detectors_are_equal_by_text_and_travel_between_processes() -> None:
    detector = Detector.parse(HEAD + panel(), "a.geom")
    before = detector.geom_for(Header({}))
    again = pickle.loads(pickle.dumps(detector))
    assert again == detector == Detector.parse(HEAD + panel(), "b.geom")
    assert hash(again) == hash(detector)
    assert detector != Detector.parse(HEAD + panel() + "\n")
    assert again.geom_for(Header({})).static_key == before.static_key


def test_a_detector_that_is_too_large_is_refused_with_its_size() -> None:
    assert refusal(HEAD + panel("p0", max_fs=99_999, max_ss=262_143)).startswith(
        "x.geom:6: panel 'p0' has 100000 x 262144 = 26214400000 pixels; at most 1073741824 pixels are taken"
    )
    many = "".join(panel(f"p{n}", max_fs=32_767, max_ss=16_383) for n in range(3))
    assert refusal(HEAD + many).startswith("x.geom: the 3 panels have 1610612736 pixels together; at most 1073741824")
    assert "whole number" in refusal(HEAD + panel("p0", max_fs="9" * 1000))


@pytest.mark.parametrize("value", ["9" * 5000, "0x" + "f" * 3000, "-0x" + "f" * 300, "1e999", "0x" + "f" * 9000])
@pytest.mark.parametrize("directive", ["max_fs", "corner_x", "dim3", "mask0_badbits", "flag_equal", "no_index", "ss"])
def test_numbers_of_thousands_of_digits_are_read_or_refused(directive: str, value: str) -> None:
    text = HEAD + panel("p0", **{directive: value})
    with contextlib.suppress(UserError):  # any other exception fails the test
        assert Detector.parse(text, "x.geom").panels[0].panel.num_pixels <= 1 << 30
