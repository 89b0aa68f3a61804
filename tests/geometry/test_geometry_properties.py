"""Laws of the geometry: what is printed is read again, defaults are spelling only, q and pixels are each other's inverse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from geom_texts import HEAD, panel
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import UserError
from stages.files.geom.detector import Detector
from stages.files.geom.directives import PANEL_DIRECTIVES
from stages.files.geom.model import MaskSource, PlacedPanel
from stages.files.geom.parser import TOP_LEVEL
from stages.records import Header, Panel

numbers = st.floats(-1e5, 1e5).map(lambda x: round(x, 6))
positive = st.floats(1e-3, 1e6)
names = st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True).filter(
    lambda n: not n.startswith(("bad", "group", "rigid_group"))
)


@st.composite
def placed_panels(draw: st.DrawFn, name: str) -> PlacedPanel:
    angle, tilt = draw(st.floats(-math.pi, math.pi)), draw(st.floats(-0.5, 0.5))
    fs = (round(math.cos(angle), 6), round(math.sin(angle), 6), round(tilt, 6))
    ss = (round(-math.sin(angle), 6), round(math.cos(angle), 6), 0.0)
    low_fs, low_ss = draw(st.integers(0, 100)), draw(st.integers(0, 100))
    per_ev = draw(st.booleans())
    slab = draw(st.booleans())
    return PlacedPanel(
        Panel(
            name,
            data=draw(st.sampled_from(["", "detector_data", "/entry/data"])),
            dims=("ss", "fs") if slab else ("%", draw(st.integers(0, 9)), "ss", "fs"),
            min_fs=low_fs,
            max_fs=low_fs + draw(st.integers(0, 2000)),
            min_ss=low_ss,
            max_ss=low_ss + draw(st.integers(0, 2000)),
            adu_per_photon=1.0 if per_ev else draw(positive),
            adu_per_ev=draw(positive) if per_ev else math.nan,
            max_adu=draw(st.one_of(st.just(math.inf), numbers)),
            no_index=draw(st.booleans()),
            flag_lessthan=draw(st.one_of(st.just(-math.inf), numbers)),
            flag_morethan=draw(st.one_of(st.just(math.inf), numbers)),
            flag_equal=tuple(draw(st.lists(numbers, max_size=3, unique=True))),
        ),
        corner_px=(draw(numbers), draw(numbers)),
        fs_px=fs,
        ss_px=ss,
        res_per_m=draw(positive),
        coffset_m=draw(numbers),
        mask_edge_pixels=draw(st.integers(0, 5)),
        masks=tuple(
            draw(
                st.lists(
                    st.builds(MaskSource, st.integers(0, 7), st.just("m.h5"), st.just("/m"), st.integers(0, 2**64 - 1)),
                    max_size=2,
                    unique_by=lambda m: m.number,
                )
            )
        ),
    )


def printed(placed: PlacedPanel) -> str:
    p = placed.panel
    lines = [
        f"{axis} = {v[0]:+.6f}x {v[1]:+.6f}y {v[2]:+.6f}z" for axis, v in (("fs", placed.fs_px), ("ss", placed.ss_px))
    ]
    lines += [f"{end}_{axis} = {getattr(p, f'{end}_{axis}')}" for end in ("min", "max") for axis in ("fs", "ss")]
    lines += [
        f"corner_x = {placed.corner_px[0]!r}",
        f"corner_y = {placed.corner_px[1]!r}",
        f"coffset = {placed.coffset_m!r}",
    ]
    lines += [f"res = {placed.res_per_m!r}", f"max_adu = {p.max_adu!r}", f"no_index = {int(p.no_index)}"]
    lines += [
        f"adu_per_photon = {p.adu_per_photon!r}" if math.isnan(p.adu_per_ev) else f"adu_per_eV = {p.adu_per_ev!r}"
    ]
    lines += [f"dim{i} = {dim}" for i, dim in enumerate(p.dims)] + [f"mask_edge_pixels = {placed.mask_edge_pixels}"]
    lines += [f"data = {p.data}"] if p.data else []
    lines += [f"flag_lessthan = {p.flag_lessthan!r}"] if math.isfinite(p.flag_lessthan) else []
    lines += [f"flag_morethan = {p.flag_morethan!r}"] if math.isfinite(p.flag_morethan) else []
    lines += [f"flag_equal = {value!r}" for value in p.flag_equal]
    for m in placed.masks:
        lines += [
            f"mask{m.number}_file = {m.file}",
            f"mask{m.number}_data = {m.data}",
            f"mask{m.number}_goodbits = {m.goodbits:#x}",
        ]
    return "".join(f"{p.name}/{line}\n" for line in lines)


def facts(placed: PlacedPanel) -> str:
    """Everything but the line, as text, since NaN is not equal to NaN."""
    ordered = tuple(sorted(placed.masks, key=lambda m: m.number))
    return repr(
        (
            placed.panel,
            placed.corner_px,
            tuple(v + 0.0 for v in placed.fs_px),
            tuple(v + 0.0 for v in placed.ss_px),
            placed.res_per_m,
            placed.coffset_m,
            placed.mask_edge_pixels,
            ordered,
        )
    )


@given(
    st.lists(names, min_size=1, max_size=4, unique=True).flatmap(lambda ns: st.tuples(*(placed_panels(n) for n in ns)))
)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_panels_that_are_printed_are_read_again(panels: tuple[PlacedPanel, ...]) -> None:
    text = "clen = 0.1 m\nphoton_energy = 1 keV\n" + "".join(printed(p) for p in panels)
    assert [facts(p) for p in Detector.parse(text).panels] == [facts(p) for p in panels]


PER_PANEL = {
    "res": ["5000", "13333.3"],
    "max_adu": ["9", "1e4"],
    "adu_per_photon": ["2"],
    "adu_per_eV": ["0.001"],
    "no_index": ["true", "0"],
    "mask_edge_pixels": ["2"],
    "coffset": ["0.01", "-0.02"],
    "data": ["other", "/data/data"],
    "corner_x": ["7.5"],
    "flag_lessthan": ["-3"],
}
steps = st.lists(
    st.one_of(
        st.sampled_from(sorted(PER_PANEL)).flatmap(lambda d: st.tuples(st.just(d), st.sampled_from(PER_PANEL[d]))),
        st.sampled_from(["a", "b", "c"]).map(lambda name: ("panel", name)),
    ),
    max_size=12,
)


@given(steps)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_a_default_says_no_more_than_the_same_directive_at_each_later_panel(plan: list[tuple[str, str]]) -> None:
    """Spell every default out at the panels first mentioned after it, and nothing changes."""
    with_defaults, spelled_out = HEAD, HEAD
    pending: list[tuple[str, str]] = []
    seen: set[str] = set()
    for directive, value in [*plan, ("panel", "last")]:
        if directive != "panel":
            with_defaults += f"{directive} = {value}\n"
            pending.append((directive, value))
        elif value not in seen:
            seen.add(value)
            first = f"{value}/min_fs = 0\n"
            own = panel(value, corner_x=None if any(d == "corner_x" for d, _ in pending) else -4)
            with_defaults += first + own
            spelled_out += first + "".join(f"{value}/{d} = {v}\n" for d, v in pending) + own
    one, other = Detector.parse(with_defaults), Detector.parse(spelled_out)
    assert [facts(p) for p in one.panels] == [facts(p) for p in other.panels]


@given(
    st.floats(-0.4, 0.4),
    st.floats(-0.4, 0.4),
    st.floats(-math.pi, math.pi),
    st.floats(0.03, 1.0),
    st.floats(3000, 30000),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_pixel_goes_to_q_and_back(
    tilt_x: float, tilt_y: float, turn: float, clen: float, energy: float, seed: int
) -> None:
    c, s = math.cos(turn), math.sin(turn)
    vectors = {"fs": f"{c:+.9f}x {s:+.9f}y {tilt_x:+.9f}z", "ss": f"{-s:+.9f}x {c:+.9f}y {tilt_y:+.9f}z"}
    text = HEAD.replace("0.1 m", f"{clen:.9f} m").replace("10000 eV", f"{energy:.3f}")
    text += panel("a", width=40, height=30, corner_x=3, corner_y=2, **vectors) + panel(
        "b", width=40, height=30, corner_x=-60, corner_y=-90
    )
    geom = Detector.parse(text).geom_for(Header({}))
    rng = np.random.default_rng(seed)
    which = rng.integers(0, 2, 50)
    fs, ss = rng.uniform(0, 40, 50), rng.uniform(0, 30, 50)
    q = geom.q_per_angstrom(which, fs, ss)
    ray = geom.lab_m(which, fs, ss)
    ray /= np.linalg.norm(ray, axis=1)[:, None]
    np.testing.assert_allclose(q, (ray - [0, 0, 1]) / geom.wavelength_angstrom, atol=1e-12)
    np.testing.assert_allclose(geom.per_angstrom(which, fs, ss), np.linalg.norm(q, axis=1), rtol=1e-14)
    on_sphere = np.linalg.norm(q * geom.wavelength_angstrom + [0, 0, 1], axis=1)
    np.testing.assert_allclose(on_sphere, 1, rtol=1e-12)
    panel_found, fs_found, ss_found = geom.locate(q)
    hidden = panel_found != which  # another panel may stand before this one
    np.testing.assert_allclose(fs_found[~hidden], fs[~hidden], atol=1e-5)
    np.testing.assert_allclose(ss_found[~hidden], ss[~hidden], atol=1e-5)
    for i in np.flatnonzero(hidden):
        nearer = geom.lab_m(panel_found[i : i + 1], fs_found[i : i + 1], ss_found[i : i + 1])
        assert np.linalg.norm(nearer) < np.linalg.norm(geom.lab_m(which[i : i + 1], fs[i : i + 1], ss[i : i + 1]))
        np.testing.assert_allclose(
            geom.q_per_angstrom(panel_found[i : i + 1], fs_found[i : i + 1], ss_found[i : i + 1])[0], q[i], atol=1e-9
        )


def test_a_panel_that_there_is_not_has_no_q() -> None:
    geom = Detector.parse(HEAD + panel()).geom_for(Header({}))
    for number in (-1, 1):
        with pytest.raises(IndexError, match="of the 1 that there are"):
            geom.q_per_angstrom(np.array([0, number]), np.zeros(2), np.zeros(2))


def test_rays_that_miss_the_detector_are_located_nowhere() -> None:
    geom = Detector.parse(HEAD + panel()).geom_for(Header({}))
    aside, backwards = [0.3, 0.0, -0.05], [0.0, 0.0, -2 / geom.wavelength_angstrom]
    found, fs, ss = geom.locate(np.array([aside, backwards]))
    assert found.tolist() == [-1, -1]
    assert np.isnan(fs).all()
    assert np.isnan(ss).all()


words = st.sampled_from(
    [
        "=",
        "/",
        ";",
        " ",
        "\t",
        "\n",
        "\r",
        "p0",
        "bad",
        "group_",
        "%",
        "0",
        "1e9",
        "-",
        "x",
        "nan",
        "inf",
        "0x",
        "é",
        "🜨",
        *TOP_LEVEL,
        *PANEL_DIRECTIVES,
    ]
)


@given(st.lists(st.one_of(words, st.text(max_size=4)), max_size=40).map("".join), st.booleans())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_text_is_read_or_refused_and_never_breaks_the_parser(text: str, after_a_good_file: bool) -> None:
    told = ""
    try:
        detector = Detector.parse((HEAD + panel() if after_a_good_file else "") + text)
        detector.require_complete()
    except UserError as refusal:
        told = str(refusal)
    assert bool(told) != bool(not told and detector.panels)
