"""The stage geometry_map/map_panels: files at open, headers and arrays at each frame."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from geom_texts import HEAD, panel

from pipeline import Context, RejectFrame, UserError
from pipeline.by_type import ByType
from pipeline.contract import contract_of
from stages.files.geom.detector import Detector
from stages.geometry_map.map_panels import MapPanels, RunningMapPanels
from stages.records import DetGeom, Header, Image
from stages.records.told import PixelsDecoded

BY_HEADER = HEAD.replace("photon_energy = 10000 eV", "photon_energy = beam_energy eV").replace("0.1 m", "distance mm")
GOOD = Header({"beam_energy": 10000, "distance": 100})


@pytest.fixture
def geom_file(tmp_path: Path) -> Path:
    path = tmp_path / "x.geom"
    path.write_text(BY_HEADER + panel("a") + panel("b", min_fs=8, data="other_data"))
    return path


@pytest.fixture
def mapped(geom_file: Path) -> RunningMapPanels:
    return MapPanels(geometry=geom_file).open(Context())


def test_the_contract_takes_a_header_and_perhaps_an_image_and_gives_a_geometry() -> None:
    contract = contract_of(MapPanels)
    assert (contract.reads, contract.optional, contract.writes) == ((Header, Image), (Image,), (DetGeom,))


def test_the_text_and_the_detector_are_published_and_replicas_share_one(geom_file: Path) -> None:
    context = Context()
    other = Context(tables=context.tables)
    MapPanels(geometry=geom_file).open(context)
    MapPanels(geometry=geom_file).open(other)
    assert context.published[Detector].text == geom_file.read_text()
    assert other.published[Detector] is context.published[Detector]


def test_frames_with_the_same_header_share_vectors_masks_and_key(mapped: RunningMapPanels) -> None:
    one, two = mapped(GOOD, None), mapped(Header({"beam_energy": 12000, "distance": "100.0"}), None)
    assert (one.photon_energy_ev, two.photon_energy_ev) == (10000, 12000)
    assert one.origin_m is two.origin_m
    assert one.fs_m is two.fs_m
    assert one.bad is two.bad
    assert one.static_key == two.static_key
    assert hash(one.static_key) == hash(two.static_key)


def test_another_camera_length_has_another_key_and_coming_back_has_the_first(mapped: RunningMapPanels) -> None:
    near, far = mapped(GOOD, None), mapped(Header({"beam_energy": 10000, "distance": 200}), None)
    assert near.static_key != far.static_key
    assert far.origin_m[:, 2] == pytest.approx([0.2, 0.2])
    assert mapped(GOOD, None).origin_m is near.origin_m


def test_placements_that_are_not_used_any_more_are_let_go(mapped: RunningMapPanels) -> None:
    keys = {mapped(Header({"beam_energy": 10000, "distance": 100 + i}), None).static_key for i in range(50)}
    assert len(keys) == 50
    assert len(mapped.detector._placements) <= 16


@pytest.mark.parametrize("key", ["beam_energy", "distance"])
@pytest.mark.parametrize("value", [None, True, [1.0], float("nan"), float("inf"), "far", 0, -5.0, {"a": 1}])
def test_a_header_value_that_is_no_positive_number_rejects_the_frame_naming_the_key(
    mapped: RunningMapPanels, key: str, value: object
) -> None:
    with pytest.raises(RejectFrame, match=f"key '{key}'"):
        mapped(Header({**GOOD.raw, key: value}), None)
    mapped(GOOD, None)


@pytest.mark.parametrize("key", ["beam_energy", "distance"])
def test_a_missing_key_is_named_in_the_rejection_with_the_keys_that_there_are(
    mapped: RunningMapPanels, key: str
) -> None:
    header = Header({k: v for k, v in {**GOOD.raw, "note": 1}.items() if k != key})
    with pytest.raises(RejectFrame, match=rf"no key '{key}'; its keys are: .*note") as caught:
        mapped(header, None)
    assert caught.value.reason == "missing_key"


@pytest.mark.parametrize("value", [np.float32(100), np.int64(100), np.array(100.0), np.array([100.0]), " 100 ", 100])
def test_a_number_may_come_in_any_clothing(mapped: RunningMapPanels, value: object) -> None:
    assert mapped(Header({"beam_energy": 10000, "distance": value}), None).clen_m == pytest.approx([0.1, 0.1])


def test_a_key_is_matched_exactly(tmp_path: Path) -> None:
    path = tmp_path / "x.geom"
    path.write_text(HEAD.replace("10000 eV", "/LCLS/photon_energy_eV") + panel())
    mapped = MapPanels(geometry=path).open(Context())
    assert mapped(Header({"/LCLS/photon_energy_eV": 9000}), None).photon_energy_ev == 9000
    for near in ("LCLS/photon_energy_eV", "/LCLS/photon_energy", "/lcls/photon_energy_ev"):
        with pytest.raises(RejectFrame, match="missing_key"):
            mapped(Header({near: 9000}), None)


def test_a_negative_encoder_value_is_good_where_coffset_makes_up_for_it(tmp_path: Path) -> None:
    path = tmp_path / "x.geom"
    path.write_text(BY_HEADER + panel(coffset=0.5))
    mapped = MapPanels(geometry=path).open(Context())
    assert mapped(Header({"beam_energy": 9000, "distance": -400}), None).mean_clen_m == pytest.approx(0.1)
    with pytest.raises(RejectFrame, match="key 'distance' holds -500, which puts the detector at 0 m"):
        mapped(Header({"beam_energy": 9000, "distance": -500}), None)


def test_arrays_may_be_larger_than_the_panels_need(mapped: RunningMapPanels) -> None:
    image = Image.of(detector_data=np.zeros((7, 9), "i4"), other_data=np.zeros((60, 160), "u2"))
    geom = mapped(GOOD, image)
    assert [view.shape for view in geom.views(image)] == [(6, 8), (6, 8)]
    assert all(np.shares_memory(v, a) for v, a in zip(geom.views(image), image.arrays.values(), strict=True))


def test_an_array_that_is_too_small_is_rejected_naming_panel_needed_and_given_size(mapped: RunningMapPanels) -> None:
    image = Image.of(detector_data=np.zeros((6, 8)), other_data=np.zeros((6, 15)))
    with pytest.raises(
        RejectFrame, match=r"panel 'b' needs 'other_data' to be at least \(6, 16\), and it is \(6, 15\)"
    ):
        mapped(GOOD, image)


def test_a_small_array_is_rejected_after_a_large_one_has_passed(mapped: RunningMapPanels) -> None:
    mapped(GOOD, Image.of(detector_data=np.zeros((6, 8)), other_data=np.zeros((6, 16))))
    with pytest.raises(RejectFrame, match="image_too_small"):
        mapped(GOOD, Image.of(detector_data=np.zeros((5, 8)), other_data=np.zeros((6, 16))))


def test_an_array_with_other_dimensions_is_rejected(mapped: RunningMapPanels) -> None:
    with pytest.raises(RejectFrame, match=r"panel 'a' wants 'detector_data' with 2 dimensions \(ss, fs\).*\(2, 6, 8\)"):
        mapped(GOOD, Image.of(detector_data=np.zeros((2, 6, 8)), other_data=np.zeros((6, 16))))


def test_an_array_that_did_not_come_is_rejected_naming_its_key(mapped: RunningMapPanels) -> None:
    with pytest.raises(RejectFrame, match=r"no image under key 'other_data'"):
        mapped(GOOD, Image.of(detector_data=np.zeros((6, 8))))
    with pytest.raises(
        RejectFrame, match=r"no image under key 'detector_data'; its images are: none; if the sender .* --no-image-data"
    ):
        mapped(GOOD, Image.of())


def test_an_array_that_could_not_be_read_rejects_with_its_own_reason(mapped: RunningMapPanels) -> None:
    with pytest.raises(RejectFrame, match="odd_dtype"):
        mapped(
            GOOD, Image({"other_data": np.zeros((6, 16))}, {"detector_data": RejectFrame("odd_dtype", "what is <x9?")})
        )


def test_one_panel_per_slice_of_a_three_dimensional_array(tmp_path: Path) -> None:
    path = tmp_path / "x.geom"
    path.write_text(HEAD + "dim0 = %\ndim2 = ss\ndim3 = fs\n" + panel("a", dim1=0) + panel("b", dim1=2))
    mapped = MapPanels(geometry=path).open(Context())
    stack = np.arange(3 * 6 * 8).reshape(3, 6, 8)
    for array in (stack, stack[None]):
        image = Image.of(detector_data=array)
        np.testing.assert_array_equal(np.stack(mapped(Header({}), image).views(image)), stack[[0, 2]])
    with pytest.raises(RejectFrame, match=r"panel 'b' needs 'detector_data' to be at least \(3, 6, 8\)"):
        mapped(Header({}), Image.of(detector_data=stack[:2]))
    with pytest.raises(RejectFrame, match="holds 2 along a '%' dimension"):
        mapped(Header({}), Image.of(detector_data=np.stack([stack, stack])))


def test_a_file_without_data_serves_frames_without_pixels_only(tmp_path: Path) -> None:
    path = tmp_path / "x.geom"
    path.write_text(HEAD.replace("data = detector_data\n", "") + panel())
    assert MapPanels(geometry=path).open(Context())(Header({}), None).panels[0].data == ""
    with pytest.raises(
        UserError, match=r"x\.geom: panel 'p0' has no directive 'data'.*expected 'data = detector_data'"
    ):
        MapPanels(geometry=path).open(Context(upstream=ByType([PixelsDecoded(True)])))


def test_a_file_that_is_absent_a_folder_binary_or_something_else_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.geom' does not exist \(working directory: "):
        MapPanels(geometry=tmp_path / "absent.geom").open(Context())
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        MapPanels(geometry=tmp_path).open(Context())
    (tmp_path / "data.h5").write_bytes(b"\x89HDF\r\n\x1a\n\0\0")
    with pytest.raises(UserError, match="not a geometry file but binary data"):
        MapPanels(geometry=tmp_path / "data.h5").open(Context())
    (tmp_path / "cell").write_text("CrystFEL unit cell file version 1.0\n\nlattice_type = cubic\n")
    with pytest.raises(UserError, match="cell:1: expected 'directive = value'"):
        MapPanels(geometry=tmp_path / "cell").open(Context())


def test_a_comment_in_an_old_encoding_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "x.geom").write_bytes(b"; 5 \xc5ngstr\xf6m\n" + (HEAD + panel()).encode())
    assert "Ångström" in Detector.load(tmp_path / "x.geom").text


def test_warnings_of_the_file_are_logged_when_the_graph_opens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.geom"
    path.write_text("corner_zz = 1\n" + HEAD + panel())
    with caplog.at_level(logging.WARNING, "streamajig"):
        MapPanels(geometry=path).open(Context(node="geometry_map"))
    assert caplog.messages == [f"{path}:1: unknown directive 'corner_zz' is ignored; did you mean 'corner_y'?"]


def test_what_is_known_ahead_of_frames_is_what_they_have_and_the_rest_is_no_number(mapped: RunningMapPanels) -> None:
    ahead, frame = mapped.detector.geom_ahead(), mapped(GOOD, None)
    assert np.array_equal(ahead.origin_m[:, :2], frame.origin_m[:, :2])
    assert (ahead.fs_m is frame.fs_m, ahead.ss_m is frame.ss_m, ahead.panels is frame.panels) == (True, True, True)
    assert all(one is other for one, other in zip(ahead.bad, frame.bad, strict=True))
    assert np.isnan([ahead.photon_energy_ev, *ahead.clen_m, *ahead.origin_m[:, 2]]).all()
    assert ahead.static_key != frame.static_key


def test_a_file_that_needs_no_header_is_known_ahead_of_frames() -> None:
    detector = Detector.parse(HEAD + panel("a"))
    ahead, frame = detector.geom_ahead(), detector.geom_for(Header({}))
    assert (ahead.static_key, ahead.photon_energy_ev, ahead.origin_m is frame.origin_m) == (
        frame.static_key,
        10000,
        True,
    )
