"""Bad pixels that do not depend on the frame: edges, regions, mask files; and those that its values flag."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from geom_texts import HEAD, panel
from numpy.typing import NDArray

from pipeline import UserError
from stages.compute.pixel_types import COMMON_TYPES
from stages.files.geom._kernels import flag as kernel
from stages.files.geom.detector import Detector
from stages.geometry_map import MapPanels
from stages.records import Header, Image


def bad_of(text: str, header: dict[str, object] | None = None) -> tuple[NDArray[np.uint8], ...]:
    return Detector.parse(text, "x.geom").geom_for(Header(header or {})).bad


def test_nothing_is_bad_unless_the_file_says_so() -> None:
    (bad,) = bad_of(HEAD + panel())
    assert bad.shape == (6, 8)
    assert bad.dtype == np.uint8
    assert not bad.any()


def test_no_index_marks_the_whole_panel() -> None:
    a, b = bad_of(HEAD + panel("a", no_index=1) + panel("b"))
    assert a.all()
    assert not b.any()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 50, -1])
def test_edges_are_marked_n_pixels_wide(n: int) -> None:
    (bad,) = bad_of(HEAD + panel(mask_edge_pixels=n))
    for ss in range(6):
        for fs in range(8):
            assert bad[ss, fs] == (min(fs, 7 - fs, ss, 5 - ss) < n)


def test_a_region_in_fs_and_ss_counts_in_the_array_and_includes_both_ends() -> None:
    region = "bad_1/min_fs = 12\nbad_1/max_fs = 13\nbad_1/min_ss = 101\nbad_1/max_ss = 105\nbad_1/panel = b\n"
    a, b = bad_of(region + HEAD + panel("a", min_fs=10, min_ss=100) + panel("b", min_fs=10, min_ss=100))
    assert not a.any()
    expected = np.zeros((6, 8), np.uint8)
    expected[1:6, 2:4] = 1
    np.testing.assert_array_equal(b, expected)


def test_a_region_of_the_only_panel_need_not_name_it() -> None:
    text = HEAD + panel(min_fs=10) + "bad/min_fs = 11\nbad/max_fs = 11\nbad/min_ss = 2\nbad/max_ss = 2\n"
    (bad,) = bad_of(text)
    assert list(zip(*np.nonzero(bad), strict=True)) == [(2, 1)]
    assert Detector.parse(text).warnings == ()


def test_a_region_without_panel_concerns_every_panel_with_such_pixels_and_is_told() -> None:
    text = HEAD + panel("a") + panel("b", min_fs=8) + panel("c", min_ss=6)
    text += "bad_r/min_fs = 7\nbad_r/max_fs = 8\nbad_r/min_ss = 0\nbad_r/max_ss = 0\n"
    a, b, c = bad_of(text)
    assert [mask.sum() for mask in (a, b, c)] == [1, 1, 0]
    assert a[0, 7] == b[0, 0] == 1
    (note,) = Detector.parse(text).warnings
    assert "bad region bad_r names no panel, which CrystFEL 0.12 refuses" in note.text


def test_a_region_in_x_and_y_excludes_its_borders_and_spans_panels() -> None:
    region = "bad_x/min_x = -2\nbad_x/max_x = 1\nbad_x/min_y = -3\nbad_x/max_y = 0.5\n"
    text = HEAD + region + panel("a") + panel("b", corner_x=0, fs="-x", ss="-y")
    a, b = bad_of(text)
    for mask, corner_x, sign in ((a, -4, 1), (b, 0, -1)):
        for ss in range(6):
            for fs in range(8):
                x, y = corner_x + sign * fs, -3 + sign * ss
                assert mask[ss, fs] == (-2 < x < 1 and -3 < y < 0.5)


def test_a_region_in_x_and_y_stays_where_it_is_when_the_detector_moves() -> None:
    region = "bad_x/min_x = -1.5\nbad_x/max_x = 1.5\nbad_x/min_y = -9\nbad_x/max_y = 9\n"
    region += "detector_shift_x = dx mm\ndetector_shift_y = 0\n"
    text = HEAD + region + panel()
    (unmoved,), (moved,) = bad_of(text, {"dx": 0}), bad_of(text, {"dx": 0.2})
    assert sorted(set(np.nonzero(unmoved)[1])) == [3, 4, 5]
    assert sorted(set(np.nonzero(moved)[1])) == [1, 2, 3]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            "bad_a/min_fs = 0\nbad_a/min_x = 0\n",
            "x.geom:15: directive 'bad_a/min_x': the value '0' cannot be: bad_a has min_fs already",
        ),
        ("bad_a/panel = p0\n", "x.geom:14: bad region bad_a has no ranges"),
        ("bad_a/panel = q0\nbad_a/min_fs = 0\n", "names panel 'q0', which is not in the file; did you mean 'p0'?"),
        (
            "bad_a/panel = p0\nbad_a/max_fs = 8\n",
            "goes beyond panel p0: fs 0-8, ss 0-0, and the panel has fs 0-7, ss 0-5",
        ),
        ("bad_a/min_fs = 20\nbad_a/max_fs = 30\n", "is outside all panels"),
        ("bad_a/min_fs = 1.5\n", "whole number"),
    ],
)
def test_a_region_that_makes_no_sense_is_refused(lines: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        Detector.parse(HEAD + panel() + lines, "x.geom")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("bad_a/min_x = 0\nbad_a/max_x = 1\nbad_a/max_y = 1\n", "masks nothing, since it lacks min_y"),
        (
            "bad_a/min_fs = 3\nbad_a/max_fs = 2\nbad_a/min_ss = 0\nbad_a/max_ss = 1\n",
            "its maximum is below its minimum",
        ),
        ("bad_a/max_fs = 2\nbad_a/max_ss = 1\n", "lacks min_fs, min_ss, which counts as 0"),
        (
            "bad_a/min_fs = 0\nbad_a/max_fs = 2\nbad_a/min_ss = 0\nbad_a/max_ss = 1\nbad_a/max_zz = 1\n",
            "unknown directive 'max_zz'",
        ),
    ],
)
def test_a_region_that_may_be_a_slip_is_told(lines: str, told: str) -> None:
    assert any(told in note.text for note in Detector.parse(HEAD + panel() + lines).warnings)


@pytest.fixture
def mask_file(tmp_path: Path) -> Path:
    path = tmp_path / "mask.h5"
    with h5py.File(path, "w") as file:
        bits = np.zeros((20, 30), np.uint16)
        bits[3, 5], bits[4, 6], bits[5, 7] = 1, 2, 3
        file["flat"] = bits
        file["stack"] = np.stack([bits * 0, bits])
        file["one_frame"] = np.stack([bits * 0, bits])[None]
        file["frames"] = np.zeros((7, 2, 20, 30), np.uint8)
        file["wide"] = np.full((20, 30), 0xFFFFFFFFFFFFFFFF, np.uint64)
        file["words"] = np.array([b"x"])
        file.create_group("group")
    return path


def masked(path: Path, data: str, **more: object) -> str:
    lines = "".join(f"{key} = {value}\n" for key, value in more.items())
    return HEAD + f"mask0_file = {path}\nmask0_data = /{data}\n{lines}"


def test_bits_of_a_mask_file_mark_pixels(mask_file: Path) -> None:
    (bad,) = bad_of(masked(mask_file, "flat", mask0_badbits="0x2") + panel(min_fs=3, min_ss=2))
    assert list(zip(*np.nonzero(bad), strict=True)) == [(2, 3), (3, 4)]
    (bad,) = bad_of(masked(mask_file, "flat", mask0_goodbits=1) + panel(min_fs=3, min_ss=2))
    assert list(zip(*np.nonzero(bad == 0), strict=True)) == [(1, 2), (3, 4)]


def test_the_old_names_of_masks_mean_mask_0_and_masks_add_up(mask_file: Path) -> None:
    text = HEAD + f"mask = /flat\nmask_file = {mask_file}\nmask_bad = 0x1\nmask_good = 0x0\nmask3_file = {mask_file}\n"
    text += "mask3_data = /flat\nmask3_badbits = 2\n" + panel(min_fs=3, min_ss=2)
    (bad,) = bad_of(text)
    assert list(zip(*np.nonzero(bad), strict=True)) == [(1, 2), (2, 3), (3, 4)]


def test_a_mask_of_several_panels_is_cut_along_their_dims(mask_file: Path) -> None:
    dims = {"dim0": "%", "dim2": "ss", "dim3": "fs"}
    panels = panel("a", dim1=0, min_fs=3, min_ss=2) + panel("b", dim1=1, min_fs=3, min_ss=2)
    for name in ("stack", "one_frame"):
        a, b = bad_of(masked(mask_file, name, mask0_badbits=3, **dims) + panels)
        assert not a.any()
        assert b.sum() == 3


def test_all_64_bits_of_a_mask_count(mask_file: Path) -> None:
    (bad,) = bad_of(masked(mask_file, "wide", mask0_badbits="0x8000000000000000") + panel())
    assert bad.all()
    (bad,) = bad_of(masked(mask_file, "wide", mask0_goodbits="0xffffffffffffffff") + panel())
    assert not bad.any()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("nowhere", "'/nowhere' does not exist in"),
        ("group", "is a group, not an array"),
        ("words", "a mask holds integers"),
        ("stack", "has shape (2, 20, 30), and the panel's dim directives say ss x fs"),
        ("%/flat", "streamed frames have no place in a file"),
    ],
)
def test_a_mask_that_is_not_there_is_a_users_error_when_the_graph_opens(mask_file: Path, data: str, told: str) -> None:
    detector = Detector.parse(masked(mask_file, data, mask0_badbits=1) + panel())
    with pytest.raises(UserError, match=r"mask0 of panel p0") as caught:
        detector.prepare()
    assert told in str(caught.value)


def test_a_mask_that_is_too_small_or_has_a_frame_axis_is_a_users_error(mask_file: Path) -> None:
    with pytest.raises(UserError, match="needs at least 31 along dimension 1"):
        Detector.parse(masked(mask_file, "flat") + panel(width=31)).prepare()
    dims = {"dim0": "%", "dim1": 0, "dim2": "ss", "dim3": "fs"}
    with pytest.raises(UserError, match="holds 7 masks, one a frame"):
        Detector.parse(masked(mask_file, "frames", **dims) + panel()).prepare()


def test_a_mask_file_that_is_missing_or_no_hdf5_is_a_users_error(tmp_path: Path) -> None:
    absent = Detector.parse(masked(tmp_path / "absent.h5", "x") + panel())
    with pytest.raises(UserError, match=r"no file .*absent\.h5.*relative to the working directory"):
        absent.prepare()
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(UserError, match="cannot be read as an HDF5 file"):
        Detector.parse(masked(tmp_path / "text.h5", "x") + panel()).prepare()


def test_masks_that_are_compressed_as_dectris_writes_them_are_read(tmp_path: Path) -> None:
    import hdf5plugin

    bits = np.zeros((20, 30), np.uint32)
    bits[3, 5] = 1
    for number, compression in enumerate((hdf5plugin.Bitshuffle(cname="lz4"), hdf5plugin.LZ4())):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("mask", data=bits, chunks=(20, 30), compression=compression)
        (bad,) = bad_of(masked(path, "mask", mask0_badbits=1) + panel(min_fs=3, min_ss=2))
        assert list(zip(*np.nonzero(bad), strict=True)) == [(1, 2)]


def test_without_the_plugin_a_compressed_mask_says_what_to_install(tmp_path: Path) -> None:
    import hdf5plugin

    path = tmp_path / "mask.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "mask", data=np.zeros((20, 30), "u4"), chunks=(20, 30), compression=hdf5plugin.Bitshuffle(cname="lz4")
        )
    program = """
import sys
sys.modules["hdf5plugin"] = None
from stages.files.geom.detector import Detector
try:
    Detector.parse(sys.argv[1]).prepare()
except Exception as error:
    print(type(error).__name__, error)
"""
    child = subprocess.run(
        [sys.executable, "-c", program, masked(path, "mask", mask0_badbits=1) + panel()],
        env={**os.environ, "HDF5_PLUGIN_PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert child.stdout.startswith("UserError mask0 of panel p0: '/mask' in ")
    assert "compressed with bitshuffle (HDF5 filter 32008)" in child.stdout
    assert "pip install 'streamajig[hdf5]'" in child.stdout


def test_a_mask_whose_bytes_are_broken_is_a_users_error(tmp_path: Path) -> None:
    path = tmp_path / "mask.h5"
    with h5py.File(path, "w") as file:
        mask = file.create_dataset("mask", data=np.arange(600).reshape(20, 30), chunks=(20, 30), compression="gzip")
        where = mask.id.get_chunk_info(0).byte_offset
    whole = bytearray(path.read_bytes())
    whole[where : where + 8] = bytes(8)
    path.write_bytes(whole)
    with pytest.raises(UserError, match=r"'/mask' in .*mask\.h5' cannot be read"):
        Detector.parse(masked(path, "mask", mask0_badbits=1) + panel()).prepare()


def test_without_h5py_a_mask_file_names_the_extra_and_other_files_are_read(
    mask_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"streamajig\[masks\]"):
        Detector.parse(masked(mask_file, "flat") + panel()).prepare()
    Detector.parse(HEAD + panel()).prepare()


def test_a_mask_in_the_frames_own_file_is_told_and_not_looked_for() -> None:
    detector = Detector.parse(HEAD + "mask = /entry/mask\nmask_good = 0x0\nmask_bad = 0xffff\n" + panel())
    (note,) = detector.warnings
    assert "streamed frames bring no mask" in note.text.replace("\n", " ")
    detector.prepare()
    assert not detector.geom_for(Header({})).bad[0].any()


def test_a_mask_without_a_place_is_refused() -> None:
    with pytest.raises(UserError, match="no mask2_data says where"):
        Detector.parse(HEAD + "mask2_file = m.h5\n" + panel())
    with pytest.raises(UserError, match="mask2_goodbits or _badbits is given, and no mask2_data"):
        Detector.parse(HEAD + "mask2_badbits = 1\n" + panel())


FLAGS = "flag_lessthan = -2\nflag_morethan = 1000\nflag_equal = 7\nflag_equal = 9\n"


def test_flags_mark_strictly_less_strictly_more_and_equal() -> None:
    pixels = np.array([[-3, -2, 1000, 1001, 7, 9, 8, 0]] * 6, np.int32)
    detector = Detector.parse(HEAD + FLAGS + panel(mask_edge_pixels=1))
    detector.prepare()
    geom = detector.geom_for(Header({}), Image.of(detector_data=pixels))
    assert geom.bad[0][2].tolist() == [1, 0, 0, 1, 1, 1, 0, 1]
    assert geom.bad[0][0].all()
    assert geom.static_bad[0][2].tolist() == [1, 0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("dtype", COMMON_TYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("width", [8, 16], ids=["whole array", "part of it"])
def test_flags_are_compiled_with_all_else_for_pixels_that_detectors_send(dtype: type, width: int) -> None:
    MapPanels.warm_up()
    before = list(kernel.flag.signatures)
    detector = Detector.parse(HEAD + FLAGS + panel())
    detector.prepare()
    bad = detector.geom_for(Header({}), Image.of(detector_data=np.full((6, width), 7, dtype))).bad[0]
    assert bad.all()
    assert list(kernel.flag.signatures) == before


def test_flags_leave_nan_to_the_readers_of_pixels_and_round_before_comparing() -> None:
    pixels = np.full((6, 8), 1.0, np.float32)
    pixels[0, :4] = [np.nan, np.inf, 6.6, 7.6]
    bad = Detector.parse(HEAD + FLAGS + panel()).geom_for(Header({}), Image.of(detector_data=pixels)).bad[0]
    assert bad[0].tolist() == [0, 1, 1, 0, 0, 0, 0, 0]


def test_masks_are_the_same_arrays_until_flagged_pixels_change() -> None:
    detector = Detector.parse(HEAD + FLAGS + panel("a") + panel("b", min_fs=8))
    header, first = Header({}), np.zeros((6, 16), np.int32)
    unflagged = detector.geom_for(header, Image.of(detector_data=first))
    assert unflagged.bad is unflagged.static_bad
    second = first.copy()
    second[0, 3] = 5000
    flagged = detector.geom_for(header, Image.of(detector_data=second))
    again = detector.geom_for(header, Image.of(detector_data=second + (second == 0)))
    assert flagged.bad[0].sum() == 1
    assert again.bad[0] is flagged.bad[0]
    assert flagged.bad[1] is flagged.static_bad[1]
    assert flagged.static_key == unflagged.static_key
    assert not detector.geom_for(header, Image.of(detector_data=first)).bad[0].any()
    assert not flagged.static_bad[0].any()


def test_without_pixels_flags_mark_nothing() -> None:
    assert not bad_of(HEAD + FLAGS + panel())[0].any()


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "i8", "f4", "f8"])
@pytest.mark.parametrize("write", [True, False])
def test_the_flag_kernel_agrees_with_plain_numpy(dtype: str, write: bool) -> None:
    rng = np.random.default_rng(5)
    pixels = (rng.integers(0, 40, (17, 33)) if dtype[0] == "u" else rng.normal(10, 12, (17, 33))).astype(dtype)[:, 2:30]
    static = (rng.random(pixels.shape) < 0.1).astype(np.uint8)
    less, more, equal = 3.0, 20.0, np.array([9.0, 11.0])
    values = pixels.astype(float)
    expected = (static == 1) | (values < less) | (values > more) | np.isin(np.rint(values), equal)
    mask = np.zeros(pixels.shape, np.uint8) if write else expected.astype(np.uint8)
    assert kernel.flag(pixels, static, less, more, equal, mask, write)
    np.testing.assert_array_equal(mask, expected)
    mask[16, 27] ^= 1
    assert not kernel.flag(pixels, static, less, more, equal, mask, False)
