"""HDF5 files as CrystFEL's users send them, and as nobody should."""

from __future__ import annotations

import gc
import io
import os
import pickle
import struct
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from writers import hdf5_file

from pipeline import Context, Message, RejectFrame, UserError
from stages.decode.hdf5 import Hdf5
from stages.files.geom.detector import Detector
from stages.geometry_map.map_panels import RunningMapPanels
from stages.records.header import Header
from stages.records.image import Image

PIXELS = np.arange(6 * 7, dtype="u2").reshape(6, 7)
PATH = "/entry/data/data"


def file_with(fill: Callable[[h5py.File], Any], **how: Any) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **how) as file:
        fill(file)
    return buffer.getvalue()


def opened(body: bytes, **parameters: Any) -> tuple[str, Header, Image]:
    return Hdf5(**parameters).open(Context())(Message(b"", 0, (body,)))


def reason_of(read: Callable[[], object]) -> str:
    with pytest.raises(RejectFrame) as rejected:
        read()
    return rejected.value.reason


def test_pixels_that_are_not_compressed_stay_in_the_message() -> None:
    body = hdf5_file(PIXELS)
    _, _, image = opened(body)
    assert np.shares_memory(image.array(PATH), np.frombuffer(body, np.uint8))
    np.testing.assert_array_equal(image.array("entry/data/data"), PIXELS)


def test_nothing_is_read_before_somebody_asks_and_then_once() -> None:
    body = hdf5_file(PIXELS, chunks="one", compression="gzip")
    _, _, image = opened(body)
    assert image.shape(PATH) == PIXELS.shape
    assert image.array(PATH) is image.array(PATH)
    assert f"{PATH}: 6x7" in repr(image)


@pytest.mark.parametrize(
    "how",
    [
        {"chunks": (4, 4), "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (4, 4), "shuffle": True},
        {"chunks": (4, 4), "fletcher32": True},
        {"chunks": (9, 9), "maxshape": (None, None)},
        {"chunks": (4, 4), "compression": "lzf"},
        {"chunks": (6, 7), "compression": hdf5plugin.LZ4()},
        {"chunks": (6, 7), "compression": hdf5plugin.Bitshuffle(cname="zstd")},
        {"chunks": (6, 7), "compression": hdf5plugin.Bitshuffle(cname="none")},
        {"chunks": (6, 7), "compression": hdf5plugin.Zstd()},
    ],
    ids=str,
)
def test_whatever_compresses_it_is_read(how: dict[str, Any]) -> None:
    _, _, image = opened(hdf5_file(PIXELS, **how))
    np.testing.assert_array_equal(image.array(PATH), PIXELS)


def test_a_chunk_that_was_never_written_has_the_fill_value() -> None:
    def fill(file: h5py.File) -> None:
        stored = file.create_dataset("a", (6, 7), "u2", chunks=(6, 4), fillvalue=9, compression="gzip")
        stored[:, 4:] = PIXELS[:, 4:]

    _, _, image = opened(file_with(fill))
    np.testing.assert_array_equal(image.array("a")[:, 4:], PIXELS[:, 4:])
    assert (image.array("a")[:, :4] == 9).all()


def test_a_frame_axis_and_a_name_that_varies_stand_for_the_one_there_is() -> None:
    def fill(file: h5py.File) -> None:
        file["entry_0042/data"] = PIXELS[None]
        file["entry_0042/energy"] = np.array([[9500.0]])

    text = "photon_energy = /entry_%/energy eV\nclen = 0.1\nres = 10000\nadu_per_photon = 1\ndata = /entry_%/data\n"
    text += "dim0 = %\ndim1 = ss\ndim2 = fs\np0/max_fs = 6\np0/max_ss = 5\np0/min_fs = 0\np0/min_ss = 0\n"
    text += "p0/corner_x = 0\np0/corner_y = 0\np0/fs = x\np0/ss = y\n"
    _, header, image = opened(file_with(fill))
    geom = RunningMapPanels(Detector.parse(text))(header, image)
    assert geom.photon_energy_ev == 9500.0
    np.testing.assert_array_equal(geom.views(image)[0], PIXELS)


def test_headers_are_single_numbers_texts_and_rows_by_their_path() -> None:
    def fill(file: h5py.File) -> None:
        file["LCLS/photon_energy"] = np.float32(9500)
        file["LCLS/clen"] = np.array([[130]], ">i2")
        file["event"] = "run 3 // 12\n"
        file["fixed"] = np.bytes_(b"abc")
        file["row"] = np.arange(3)
        file["laser"] = True
        file["soft"] = h5py.SoftLink("/LCLS/photon_energy")
        file["data"] = PIXELS

    event, header, _ = opened(file_with(fill))
    assert event == "run 3 // 12"
    assert header.sender_number is not None
    assert header.sender_number.number == 12
    assert header.number("LCLS/photon_energy") == header.number("/soft") == 9500.0
    assert header.number("/LCLS/clen") == 130.0
    assert header["fixed"] == "abc"
    assert header["row"].tolist() == [0, 1, 2]
    assert header["laser"] is True
    assert set(header) == {"/LCLS/photon_energy", "/LCLS/clen", "/event", "/fixed", "/laser", "/row"}
    with pytest.raises(RejectFrame, match=r"has no key '/nowhere'; its keys are: /LCLS/clen"):
        header.number("/nowhere")
    with pytest.raises(
        RejectFrame, match=r"key 'data': it is a data set of shape \(6, 7\) with uint16; a number or text"
    ):
        header.number("data")
    event, _, _ = opened(file_with(fill), event_keys=("/fixed",))
    assert event == "abc"


def test_the_highest_value_marks_pixels_in_arrays_without_a_sign_alone() -> None:
    _, _, image = opened(
        file_with(lambda file: file.update({"u": PIXELS, "i": PIXELS.astype("i4"), "w": PIXELS.astype("u4")}))
    )
    assert [image.sentinels.equal_in(image.array(key).dtype) for key in "uiw"] == [(65535.0,), (), (4294967295.0,)]


def test_headers_outlive_the_file_and_both_cross_to_other_processes() -> None:
    _, header, image = opened(hdf5_file(PIXELS, chunks="one", compression="gzip"))
    own, copy, picture = header.detached(), pickle.loads(pickle.dumps(header)), pickle.loads(pickle.dumps(image))
    np.testing.assert_array_equal(picture.array(PATH), PIXELS)
    del header, image
    assert own.number("/LCLS/photon_energy") == copy.number("/LCLS/photon_energy") == 12000.0


def test_the_file_is_closed_and_the_message_let_go_with_the_frame() -> None:
    class Body(bytearray):
        pass

    body = Body(hdf5_file(PIXELS))
    gone = weakref.ref(body)
    _, header, image = opened(memoryview(body))  # type: ignore[arg-type]
    image.array(PATH)
    header.number("/LCLS/clen")
    before = len(h5py.h5f.get_obj_ids(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE))
    del body, header, image
    gc.collect()
    assert gone() is None
    assert len(h5py.h5f.get_obj_ids(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE)) == before - 1


def test_threads_read_their_frames_side_by_side() -> None:
    decode = Hdf5().open(Context())
    bodies = [hdf5_file(PIXELS + n, chunks=(4, 4), compression="gzip") for n in range(4)]
    wrong: list[int] = []

    def work(n: int) -> None:
        for k in range(20):
            number = (n + k) % len(bodies)
            _, _, image = decode(Message(b"", 0, (bodies[number],)))
            if not (image.array(PATH) == PIXELS + number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that no message may have read: it was last looked at in 1970."""
    path = tmp_path / "secret.h5"
    path.write_bytes(file_with(lambda file: file.update({"data": PIXELS})))
    path.read_bytes()
    os.utime(path, ns=(1, path.stat().st_mtime_ns))
    return path


def virtual(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout((6, 7), "u2")
    layout[:] = h5py.VirtualSource(str(secret), "data", (6, 7))
    file.create_virtual_dataset("data", layout)


OUTWARDS: dict[str, tuple[Callable[[h5py.File, Path], Any], str]] = {
    "external link": (
        lambda file, secret: file.update({"data": h5py.ExternalLink(str(secret), "/data")}),
        "an external link",
    ),
    "soft link to one": (
        lambda file, secret: file.update(
            {
                "out": h5py.ExternalLink(str(secret), "/"),
                "group/data": h5py.SoftLink("/out/data"),
                "data": h5py.SoftLink("group/data"),
            }
        ),
        "an external link",
    ),
    "external storage": (
        lambda file, secret: file.create_dataset("data", (6, 7), "u2", external=[(str(secret), 0, 84)]),
        "in external storage",
    ),
    "virtual data set": (virtual, "a virtual data set"),
}


@pytest.mark.parametrize("way", OUTWARDS)
def test_what_leads_out_of_the_message_is_refused_before_it_is_opened(way: str, secret: Path) -> None:
    fill, what = OUTWARDS[way]
    _, header, image = opened(file_with(lambda file: fill(file, secret)))
    for read in (image.array, image.shape, header.number):
        with pytest.raises(RejectFrame, match=what) as rejected:
            read("/data")
        assert rejected.value.reason == "leads_out"
    assert list(header) == []
    assert secret.stat().st_atime_ns == 1


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("kind", ["virtual", "external"])
def test_what_leads_out_is_refused_before_hdf5_opens_it(kind: str, libver: str, tmp_path: Path) -> None:
    """HDF5 looks into a heap of the message for the names of the other files, and from some heaps it never comes back."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=libver) as file:
        if kind == "virtual":
            layout = h5py.VirtualLayout((4, 4), "i4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "data", (4, 4))
            file.create_virtual_dataset("data", layout)
        else:
            file.create_dataset("data", (4, 4), "u1", external=[(str(tmp_path / "other"), 0, 16)])
    heap = b"GCOL" if kind == "virtual" else b"HEAP"
    whole = buffer.getvalue()
    assert heap in whole
    at = whole.rindex(heap)  # a group's own heap comes first
    broken = whole[:at] + bytes(60) + whole[at + 60 :]
    _, header, image = opened(broken)
    for read in (image.array, image.shape, header.number):
        with pytest.raises(RejectFrame) as rejected:
            read("/data")
        assert rejected.value.reason == "leads_out"
    assert list(header) == list(image.arrays) == []


def test_a_small_message_that_declares_gigabytes_is_rejected_before_they_are_allocated() -> None:
    def fill(file: h5py.File) -> None:
        file.create_dataset("late", (30_000, 40_000), "u4")
        file.create_dataset("chunks", (30_000, 40_000), "u4", chunks=(1000, 1000), compression="gzip")
        file.create_dataset(
            "big_chunk", (4, 4), "u4", chunks=(30_000, 30_000), maxshape=(None, None), compression="gzip"
        )
        file.create_dataset("empty", (0, 7), "u4")
        file["few"] = np.zeros((10, 10), "u4")

    body = file_with(fill)
    _, header, image = opened(body)
    assert len(body) < 20_000
    assert [reason_of(lambda key=key: image.array(key)) for key in ("late", "chunks", "big_chunk", "empty")] == [
        "too_large",
        "too_large",
        "too_large",
        "bad_shape",
    ]
    _, header, image = opened(body, max_message_bytes=1 << 34)
    assert [reason_of(lambda key=key: image.array(key)) for key in ("late", "chunks")] == ["no_pixels", "no_pixels"]
    assert reason_of(lambda: header.number("late")) == "not_a_header_value"


def test_a_chunk_that_holds_more_than_it_should_is_not_decompressed_to_its_end() -> None:
    import zlib

    def fill(file: h5py.File) -> None:
        stored = file.create_dataset("a", (6, 7), "u2", chunks=(6, 7), compression="gzip")
        stored.id.write_direct_chunk((0, 0), zlib.compress(bytes(50_000_000)))

    _, _, image = opened(file_with(fill))
    assert reason_of(lambda: image.array("a")) == "bad_array_size"


@pytest.mark.parametrize(
    "stored",
    [
        np.zeros((6, 7), [("a", "i4"), ("b", "f4")]),
        np.array([[b"ab", b"cd"]]),
        np.zeros((6, 7), "c8"),
        np.zeros((6, 7), bool),
        np.zeros(7, "u2"),
        np.float64(3.0),
    ],
    ids=str,
)
def test_what_is_no_array_of_numbers_is_no_image(stored: Any) -> None:
    _, _, image = opened(file_with(lambda file: file.update({"a": stored})))
    assert reason_of(lambda: image.array("a")) == "not_an_image"


def test_objects_and_references_are_not_opened() -> None:
    def fill(file: h5py.File) -> None:
        file.create_dataset("ragged", (2, 2), h5py.vlen_dtype("i4"))
        file.create_dataset("refs", (2, 2), h5py.ref_dtype)

    _, header, image = opened(file_with(fill))
    for key in ("ragged", "refs"):
        assert reason_of(lambda key=key: image.array(key)) == "not_an_image"
        assert reason_of(lambda key=key: header.number(key)) == "not_a_header_value"


def test_links_that_lead_round_in_circles_come_to_an_end() -> None:
    def fill(file: h5py.File) -> None:
        file["a"], file["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/a")
        group = file.create_group("group")
        group["itself"] = group

    _, header, image = opened(file_with(fill))
    assert reason_of(lambda: image.array("/a")) == "bad_hdf5"
    assert reason_of(lambda: image.array("/group/itself/itself")) == "not_an_image"
    assert list(header) == []


def test_a_changed_byte_behind_a_checksum_is_noticed() -> None:
    body = bytearray(hdf5_file(PIXELS, chunks="one", fletcher32=True))
    at = body.index(PIXELS.tobytes())
    np.testing.assert_array_equal(opened(bytes(body))[2].array(PATH), PIXELS)
    body[at + 30] ^= 4
    assert reason_of(lambda: opened(bytes(body))[2].array(PATH)) == "wrong_checksum"


def test_a_file_that_is_cut_short_or_no_hdf5_is_rejected() -> None:
    body = hdf5_file(PIXELS)
    assert reason_of(lambda: opened(body[:-100])[2].array(PATH)) == "bad_hdf5"
    assert reason_of(lambda: opened(body[:8])) == "bad_hdf5"
    assert reason_of(lambda: opened(body[:64] + b"\xff" * 32 + body[96:])) == "bad_hdf5"
    assert reason_of(lambda: opened(b"\x89HDF")) == "another_format"


def test_text_whose_heap_is_broken_is_rejected_and_never_waited_for() -> None:
    body = bytearray(file_with(lambda file: file.update({"text": "run 3 // 12"})))
    at = body.index(b"GCOL") + 24
    body[at : at + 8] = bytes(8)  # the size of the first object: HDF5 itself goes round in a circle then
    body[at - 8] = 9
    _, header, _ = opened(bytes(body))
    assert reason_of(lambda: header["text"]) == "bad_hdf5"


def test_a_group_whose_list_of_free_blocks_has_no_end_is_rejected_and_never_looked_into() -> None:
    body = bytearray(hdf5_file(PIXELS))
    heap = body.index(b"HEAP")
    _, first, data = (int.from_bytes(body[heap + at : heap + at + 8], "little") for at in (8, 16, 24))
    at = data + first
    body[at : at + 8] = first.to_bytes(8, "little")  # the first free block comes after itself
    assert reason_of(lambda: opened(bytes(body))) == "bad_hdf5"


@pytest.mark.parametrize("size", [0, 1, 4])
def test_bitshuffle_is_not_told_another_size_of_values_than_they_have(size: int) -> None:
    pixels = np.arange(64 * 64, dtype="u2").reshape(64, 64)
    compressed = {"chunks": (64, 64), "compression": hdf5plugin.Bitshuffle(cname="lz4")}
    body = file_with(lambda file: file.create_dataset(PATH, data=pixels, **compressed))
    np.testing.assert_array_equal(opened(body)[2].array(PATH), pixels)
    told = struct.pack("<3I", 2, 0, 2)  # size of values, of blocks, compression
    assert body.count(told) == 1
    damaged = body.replace(told, struct.pack("<3I", size, 0, 2))  # the plug-in divides by it
    assert reason_of(lambda: opened(damaged)[2].array(PATH)) == "bad_hdf5"


def test_without_a_filter_the_frame_is_rejected_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import h5py.h5z

    body = hdf5_file(np.zeros((60, 70), "u2"), chunks="one", compression=32001)
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda number: number < 256)
    with pytest.raises(
        RejectFrame, match=r"compressed with Blosc \(HDF5 filter 32001\).*pip install 'streamajig\[hdf5\]'"
    ):
        opened(body)[2].array(PATH)


def test_without_h5py_a_run_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"pip install 'streamajig\[hdf5\]'"):
        Hdf5().open(Context())


def test_without_dectris_compression_hdf5_decompresses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "dectris.compression", None)
    body = hdf5_file(PIXELS, chunks="one", compression=32008, compression_opts=(0, 2))
    np.testing.assert_array_equal(opened(body)[2].array(PATH), PIXELS)
    assert "more slowly" in caplog.text
