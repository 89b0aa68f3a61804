"""Peaks from the message, as the senders encode them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import Context, Message, RejectFrame, UserError
from pipeline.by_type import ByType
from stages.decode.headers_only import HeadersOnly
from stages.geometry_map.map_panels import MapPanels
from stages.peaks._kernels import locate as kernel
from stages.peaks.from_message import FromMessage, RunningFromMessage
from stages.records import DetGeom, Header, Panel, PeakList

HEADERS = HeadersOnly().open(Context())
FIND = FromMessage().open(Context())


def geometry(*panels: Panel, peak_list: str = "peak_list") -> DetGeom:
    vectors = np.zeros((len(panels), 3))
    bad = tuple(np.zeros((p.height, p.width), np.uint8) for p in panels)
    return DetGeom(panels, vectors, vectors, vectors, 1e4, np.ones(len(panels)), bad, peak_list=peak_list)


def panel(name: str, fs: tuple[int, int], ss: tuple[int, int], **more: Any) -> Panel:
    return Panel(name, more.pop("data", "d"), min_fs=fs[0], max_fs=fs[1], min_ss=ss[0], max_ss=ss[1], **more)


ONE = geometry(panel("p", (0, 99), (0, 49)))
TWO = geometry(panel("left", (0, 9), (0, 19)), panel("right", (10, 19), (0, 19)))


def found(value: Any, where: DetGeom = ONE, **pack: Any) -> PeakList:
    header = HEADERS(Message(b"", 0, (msgpack.packb({"peak_list": value}, **pack),)))[1]
    return FIND(header, where)


def numpy_list(values: Any, dtype: str) -> dict[str, Any]:
    array = np.array(values, dtype)
    return {"nd": True, "type": dtype, "kind": "", "shape": list(array.shape), "data": array.tobytes()}


WAYS = {
    "floats": lambda v: [float(x) for x in v],
    "ints": list,
    "ints and floats": lambda v: [v[0], *map(float, v[1:])],
    "numpy <f4": lambda v: numpy_list(v, "<f4"),
    "numpy <f8": lambda v: numpy_list(v, "<f8"),
    "numpy >f8": lambda v: numpy_list(v, ">f8"),
    "numpy <i4": lambda v: numpy_list(v, "<i4"),
    "numpy |u1": lambda v: numpy_list(v, "|u1"),
    "buffer with a type": lambda v: {"type": "<f4", "data": np.array(v, "<f4").tobytes()},
    "numpy scalars": lambda v: [{"nd": False, "type": "<f4", "data": np.float32(x).tobytes()} for x in v],
}


@pytest.mark.parametrize("legacy", [False, True], ids=["bin", "legacy raw"])
@pytest.mark.parametrize("way", WAYS)
def test_every_encoding_gives_the_same_peaks(way: str, legacy: bool) -> None:
    columns = {"fs": [3, 40], "ss": [4, 5], "intensity": [100, 200]}
    compiled = list(kernel.take.signatures)
    peaks = found({key: WAYS[way](values) for key, values in columns.items()}, use_bin_type=not legacy)
    assert list(kernel.take.signatures) == compiled, "the first message of this kind waited for the compiler"
    assert peaks.fs.tolist() == [3.5, 40.5]
    assert peaks.ss.tolist() == [4.5, 5.5]
    assert peaks.intensity.tolist() == [100.0, 200.0]
    assert np.isnan(peaks.snr).all()
    assert np.isnan(peaks.max_pixel).all()
    assert peaks.num_pixels.tolist() == [0, 0]


@pytest.mark.parametrize("legacy", [False, True], ids=["bin", "legacy raw"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<i4", "float32"])
def test_buffers_may_share_one_type_beside_them(dtype: str, legacy: bool) -> None:
    def buffer(values: list[float]) -> bytes:
        return np.array(values, dtype).tobytes()

    value = {"type": dtype, "fs": buffer([3, 40]), "ss": buffer([4, 5]), "intensity": buffer([100, 200])}
    peaks = found(value, use_bin_type=not legacy)
    assert peaks.fs.tolist() == [3.5, 40.5]
    assert peaks.intensity.tolist() == [100.0, 200.0]


def test_what_om_says_besides_is_taken_too() -> None:
    peaks = found(
        {
            "num_peaks": 2, "fs": [1.0, 2.0], "ss": [1.0, 2.0], "intensity": [5.0, 6.0],
            "num_pixels": [4.0, 7], "max_pixel_intensity": [3.0, 4.0], "snr": [8.0, 9.0],
        }
    )  # fmt: skip
    assert peaks.num_pixels.tolist() == [4, 7]
    assert peaks.max_pixel.tolist() == [3.0, 4.0]
    assert peaks.snr.tolist() == [8.0, 9.0]


@pytest.mark.parametrize("empty", [[], numpy_list([], "<f4"), {"type": "<f4", "data": b""}])
def test_a_frame_without_peaks_has_an_empty_list(empty: Any) -> None:
    assert len(found({"fs": empty, "ss": empty, "intensity": empty})) == 0


def test_positions_count_from_the_panels_corner() -> None:
    peaks = found({"fs": [9, 10, 9.6], "ss": [0, 3, 1], "intensity": [1, 2, 3]}, TWO)
    assert peaks.panel.tolist() == [0, 1, 1]
    assert np.allclose(peaks.fs, [9.5, 0.5, 0.1])
    assert peaks.ss.tolist() == [0.5, 3.5, 1.5]


def test_the_half_pixel_shift_can_be_left_out() -> None:
    header = Header({"peak_list": {"fs": [9.6, 10.0], "ss": [3.25, 0], "intensity": [1, 1]}})
    peaks = FromMessage(half_pixel_shift=False).open(Context())(header, TWO)
    assert peaks.panel.tolist() == [0, 1]
    assert np.allclose(peaks.fs, [9.6, 0.0])


def test_peaks_outside_all_panels_or_not_finite_are_dropped_and_counted() -> None:
    nan, inf = float("nan"), float("inf")
    peaks = found(
        {
            "fs": [5, -1, 20, nan, 5, inf, 6, -0.5],
            "ss": [5, 5, 5, 5, -inf, 5, 6, 1],
            "intensity": [1, 2, 3, 4, 5, 6, nan, 8],
            "num_pixels": [nan, 0, 0, 0, 0, 0, 0, inf],
        },
        TWO,
    )
    assert peaks.fs.tolist() == [5.5, 0.0]
    assert peaks.num_pixels.tolist() == [0, 2**31 - 1]
    assert peaks.num_dropped == 6
    assert peaks.counts() == {"peaks": 2, "peaks_dropped": 6}


def test_a_peak_that_lies_in_two_panels_is_dropped() -> None:
    overlapping = geometry(panel("a", (0, 9), (0, 9)), panel("b", (5, 14), (0, 9)))
    peaks = found({"fs": [2, 7, 12], "ss": [1, 1, 1], "intensity": [1, 1, 1]}, overlapping)
    assert peaks.panel.tolist() == [0, 1]
    assert peaks.num_dropped == 1


GOOD = {"fs": [1.0, 2.0], "ss": [1.0, 2.0], "intensity": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([1, 2], r"bad_peak_list: key 'peak_list' should hold a map with fs, ss and intensity, and holds \[1, 2\]"),
        (None, "bad_peak_list: key 'peak_list'.*None"),
        ("text", "bad_peak_list: key 'peak_list'.*'text'"),
        ({}, "missing_key: key 'peak_list' holds no 'fs'; its keys are: none"),
        ({"fs": [1], "intensity": [1]}, "holds no 'ss'; its keys are: fs, intensity"),
        ({**GOOD, "ss": [1.0]}, "unequal_lengths: .*'peak_list'.*fs: 2, ss: 1, intensity: 2"),
        ({**GOOD, "snr": [1.0, 2.0, 3.0]}, "unequal_lengths: .*snr: 3"),
        ({**GOOD, "fs": None}, "'fs' of key 'peak_list' should be a list of numbers, and is None"),
        ({**GOOD, "fs": 5}, "'fs' of key 'peak_list' should be a list of numbers, and is 5"),
        ({**GOOD, "fs": "12"}, "'fs' of key 'peak_list' should be a list of numbers, and is '12'"),
        ({**GOOD, "fs": [1.0, "2"]}, "'fs' of key 'peak_list' .* element 1 is '2'"),
        ({**GOOD, "fs": [True, 1.0]}, "'fs' .* element 0 is True"),
        ({**GOOD, "fs": [[1.0], [2.0]]}, r"'fs' .* element 0 is \[1.0\]"),
        ({**GOOD, "fs": [1.0, None]}, "'fs' .* element 1 is None"),
        ({**GOOD, "fs": b"\xff" * 8}, "'fs' of key 'peak_list' should be a list of numbers"),
        ({**GOOD, "fs": numpy_list([1, 2], "<c8")}, "bad_dtype: key 'peak_list'"),
        ({**GOOD, "fs": numpy_list([[1, 2]], "<f4")}, "'fs' of key 'peak_list' should be a list of numbers"),
        ({**GOOD, "fs": {**numpy_list([1, 2], "<f4"), "data": b"12345"}}, "bad_array_size: key 'peak_list'"),
        ({**GOOD, "type": "<f8", "fs": b"123"}, "bad_array_size: 'fs' of key 'peak_list' has 3 bytes"),
    ],
)  # fmt: skip
def test_what_is_no_peak_list_is_rejected_naming_the_key(value: Any, says: str) -> None:
    with pytest.raises(RejectFrame, match=says):
        found(value)


def test_a_missing_peak_list_is_named_with_the_keys_that_are_there() -> None:
    header = Header({"peaks": GOOD, "clen": 1})
    with pytest.raises(RejectFrame, match="missing_key: the message has no key 'peak_list'; its keys are: clen, peaks"):
        FIND(header, ONE)
    assert len(FIND(header, geometry(*ONE.panels, peak_list="peaks"))) == 2


GEOM = """
photon_energy = 9000 eV
adu_per_photon = 1
clen = 0.1
res = 10000
data = detector_data
corner_x = 0
corner_y = 0
"""


@pytest.fixture
def opened_with(tmp_path: Path) -> Callable[..., RunningFromMessage]:
    """Open the stage behind a geometry file with these lines besides the ordinary ones."""

    def open_one(*lines: str) -> RunningFromMessage:
        file = tmp_path / "test.geom"
        file.write_text("\n".join([GEOM, *lines]) + "\n")
        context = Context()
        MapPanels(geometry=file).open(context)
        return FromMessage().open(Context(upstream=ByType(context.published.values())))

    return open_one


def lines_of(name: str, fs: tuple[int, int], ss: tuple[int, int], *more: str) -> list[str]:
    return [
        *(f"{name}/{line}" for line in more),
        f"{name}/min_fs = {fs[0]}", f"{name}/max_fs = {fs[1]}", f"{name}/min_ss = {ss[0]}", f"{name}/max_ss = {ss[1]}",
        f"{name}/fs = x", f"{name}/ss = y",
    ]  # fmt: skip


def test_a_geometry_without_peak_list_is_refused_at_the_start(opened_with: Callable) -> None:
    with pytest.raises(UserError, match="peak_list = peak_list"):
        opened_with(*lines_of("p", (0, 9), (0, 9)))
    opened_with("peak_list = peak_list", *lines_of("p", (0, 9), (0, 9)))


def test_panels_of_different_data_blocks_are_refused_by_name(opened_with: Callable) -> None:
    panels = [*lines_of("a", (0, 9), (0, 9), "data = d1"), *lines_of("b", (10, 19), (0, 9), "data = d2")]
    with pytest.raises(UserError, match="differ in 'data': 'a' has 'd1', 'b' has 'd2'"):
        opened_with("peak_list = peak_list", *panels)


def test_panels_that_are_slices_over_the_same_pixels_are_refused(opened_with: Callable) -> None:
    def slices(step: int) -> list[str]:
        return [
            line
            for k in range(3)
            for line in lines_of(f"p{k}", (0, 9), (step * k, step * k + 9), f"dim0 = {k}", "dim1 = ss", "dim2 = fs")
        ]

    with pytest.raises(UserError, match=r"differ in 'dim'.*'p0'.*'p1'"):
        opened_with("peak_list = peak_list", *slices(0))
    opened_with("peak_list = peak_list", *slices(10))


@given(st.integers(0, 2**32 - 1), st.integers(0, 8))
def test_the_kernel_agrees_with_plain_comparisons(seed: int, num_panels: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 20, (num_panels, 2))
    high = low + rng.integers(1, 10, (num_panels, 2))
    ranges = np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1).astype(float).reshape(-1, 4)
    fs, ss = rng.integers(-4, 64, (2, 30)) / 2
    fs[::7] = np.nan
    inside = (
        (fs[:, None] >= ranges[:, 0]) & (fs[:, None] < ranges[:, 1])
        & (ss[:, None] >= ranges[:, 2]) & (ss[:, None] < ranges[:, 3])
    )  # fmt: skip
    count = inside.sum(axis=1)
    wanted = np.where(count == 0, -1, np.where(count > 1, -2, inside.argmax(axis=1) if num_panels else -1))
    got = np.empty(30, np.int32)
    kernel.locate(fs, ss, ranges, got)
    assert got.tolist() == wanted.tolist()


@given(st.integers(0, 2**32 - 1))
def test_the_kernel_that_takes_peaks_agrees_with_numpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ranges = np.array([[0.0, 20.0, 0.0, 10.0], [0.0, 20.0, 10.0, 20.0], [15.0, 30.0, 5.0, 12.0]])
    fs, ss, intensity, sizes = rng.uniform(-5, 35, (4, 40))
    intensity[rng.integers(0, 40, 3)] = np.nan
    sizes[rng.integers(0, 40, 3)] = np.nan, np.inf, -np.inf
    of = np.empty(40, np.int32)
    kernel.locate(fs + 0.5, ss + 0.5, ranges, of)
    good = np.flatnonzero((of >= 0) & np.isfinite(intensity))
    place, panel, kept = np.empty((3, 40)), np.empty(40, np.int32), np.empty(40, np.int64)
    n = kernel.take(fs, ss, intensity, 0.5, ranges, place, panel, kept)
    assert kept[:n].tolist() == good.tolist()
    assert panel[:n].tolist() == of[good].tolist()
    corner = ranges[of[good]][:, [0, 2]]
    wanted = np.stack([fs[good] + 0.5 - corner[:, 0], ss[good] + 0.5 - corner[:, 1], intensity[good]])
    assert np.array_equal(place[:, :n], wanted)
    counts = np.empty(n, np.int32)
    kernel.counts(sizes, kept[:n], counts)
    wanted_counts = np.clip(np.nan_to_num(sizes[good], nan=0.0), 0, np.iinfo(np.int32).max).astype(np.int32)
    assert counts.tolist() == wanted_counts.tolist()
