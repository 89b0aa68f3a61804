"""Frames from image files: lists, stacks, folders that grow; what is in the stream is what CrystFEL would write of them."""

from __future__ import annotations

import gzip
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from fabio.cbfimage import CbfImage
from writers import one_panel

from pipeline import Context, EndOfStream, Message, RejectFrame, UserError, registry
from pipeline.running.job import run
from pipeline.running.kept_letters import read_folder
from pipeline.running.report import Report
from stages.commands.index.graph import graph_from_options
from stages.files.hdf5_events import EventOfFile, events_of, files_led_to
from stages.files.hdf5_files import OpenFile
from stages.files.hdf5_frames import pixels_of as pixels_of_event
from stages.files.image_list import Listed, Prefixed, parse_line
from stages.files.stream import Chunk, read_stream
from stages.simulation.as_cbf import cbf_image
from stages.source.files import Files, RunningFiles
from stages.wire.compressed import Decompressor
from stages.wire.file_frame import FileFrame, file_frame
from stages.wire.serving import FrameServer, serve_in_thread

HEIGHT, WIDTH = 60, 50
PANEL = one_panel(WIDTH, HEIGHT)
FIXED = "photon_energy = 9000 eV\nclen = 0.1\n"
STACK = "data = /entry/data\ndim0 = %\ndim1 = ss\ndim2 = fs\n"


def pixels_of(n: int, seed: int = 3) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Some background, and n + 1 spots of three by three pixels."""
    rng = np.random.default_rng([seed, n])
    pixels = rng.poisson(3.0, (HEIGHT, WIDTH)).astype(np.int32)
    for k in range(n + 1):
        y, x = 10 + 12 * (k % 4), 10 + 12 * (k // 4)
        pixels[y - 1 : y + 2, x - 1 : x + 2] += np.array([[300, 500, 300], [500, 2000, 500], [300, 500, 300]])
    return pixels


def stack(path: Path, frames: int = 4, **more: Any) -> Path:
    with h5py.File(path, "w") as file:
        file["entry/data"] = np.stack([pixels_of(n) for n in range(frames)])
        for key, value in more.items():
            file[key] = value
    return path


def cbf(path: Path, n: int) -> Path:
    CbfImage(data=pixels_of(n)).write(str(path))
    return path


def geometry(folder: Path, text: str = FIXED + STACK) -> Path:
    file = folder / "detector.geom"
    file.write_text(text + PANEL)
    return file


def processed(folder: Path, **options: Any) -> tuple[list[Chunk], Report, str]:
    """The chunks of a run without indexing, its report, and the stream."""
    wanted = {"geometry": folder / "detector.geom", "output": folder / "out.stream", "indexing": "none"}
    searched = {"peaks": "zaef", "threshold": 200.0, "min_squared_gradient": 1e4, "in_order": True}
    report = run(graph_from_options({**wanted, **searched, **options}))
    return list(read_stream(folder / "out.stream").chunks), report, (folder / "out.stream").read_text()


def names(chunks: list[Chunk]) -> list[tuple[str, str, int]]:
    return [(chunk.filename, chunk.event, len(chunk.peaks or ())) for chunk in chunks]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_list_gives_the_filenames_and_events_that_crystfel_writes(here: Path) -> None:
    """A line without an event stands for all of its file; what is not there is a rejected frame, and the run goes on."""
    stack(here / "a.cxi")
    (here / "files.lst").write_text("a.cxi //2\nmissing.cxi\na.cxi\n\nlost.cxi //0\na.cxi //9\n")
    geometry(here)
    chunks, report, text = processed(here, input="files.lst")
    assert names(chunks) == [("a.cxi", "//2", 3), *(("a.cxi", f"//{n}", n + 1) for n in range(4))]
    assert "Image filename: a.cxi\nEvent: //2\n" in text
    assert report.law_lines() == ["received 8 = delivered 5 + rejected 3 + dropped 0"]


def test_rejected_frames_name_their_file(here: Path) -> None:
    stack(here / "a.cxi")
    (here / "cut.h5").write_bytes((here / "a.cxi").read_bytes()[:600])
    with h5py.File(here / "other.h5", "w") as file:
        file["entry/data"] = np.zeros((2, HEIGHT, WIDTH, 3), np.int16)
    (here / "files.lst").write_text("gone.h5\ngone.h5 //0\na.cxi //4\ncut.h5\nother.h5 //0\na.cxi //x\na.cxi b//0\n")
    source = Files(images=("files.lst",), data_format="hdf5", geometry=geometry(here)).open(Context())
    decode = registry.load("decode/hdf5_file")(geometry=here / "detector.geom").open(Context())
    reasons = []
    for message in everything(source):
        with pytest.raises(RejectFrame) as rejected:
            decode(message)
        reasons.append((rejected.value.reason, rejected.value.detail))
    assert [reason for reason, _ in reasons] == [
        *("unreadable_file", "unreadable_file", "no_such_event", "unreadable_file"),
        *("wrong_dimensions", "bad_event", "bad_event"),
    ]
    assert [detail for _, detail in reasons[:2]] == ["gone.h5: No such file or directory"] * 2
    assert reasons[2][1] == "a.cxi //4: /entry/data has 4 frames along dimension 0, and frame 4 was asked for"
    for name, (_, detail) in zip(("cut.h5", "other.h5 //0", "a.cxi //x", "a.cxi b//0"), reasons[3:], strict=True):
        assert detail.startswith(f"{name}: ")
    assert source.findings().figures["unreadable_files"] == 2
    decode.close()


def test_rejected_cbf_files_are_named(here: Path) -> None:
    (here / "cut.cbf").write_bytes(cbf_image(pixels_of(1).astype("i4"), {})[:700])
    source = Files(images=("cut.cbf",), data_format="cbf", geometry=geometry(here)).open(Context())
    with pytest.raises(RejectFrame, match=r"truncated: cut\.cbf //: the CBF image says that its pixels take"):
        registry.load("decode/cbf")().open(Context())(everything(source)[0])


def test_rejected_frames_of_files_are_run_again_from_their_files(here: Path) -> None:
    from stages.commands.dead_letters.again import graph_of, messages_of

    geometry(here)
    stack(here / "a.h5", 2)
    (here / "files.lst").write_text("a.h5 //1\na.h5 //2\nlate.h5\n")
    options = {
        "peaks": "zaef",
        "threshold": 200.0,
        "indexing": "none",
        "input": "files.lst",
        "geometry": "detector.geom",
    }
    kept = {"dead_letters": here / "dead", "keep_messages": True, "output": here / "out.stream"}
    graph = graph_from_options({**options, **kept})
    run(graph)
    graph.save(here / "graph.yaml")
    stack(here / "a.h5", 3)
    letters = [letter for kept_run in read_folder(here / "dead") for letter in kept_run.letters]
    again = graph_of(here / "graph.yaml", messages_of(letters)[0], (), force=True)
    assert run(again.with_options(dead_letters=None)).law_lines() == [
        "received 2 = delivered 1 + rejected 1 + dropped 0"
    ]


def everything(source: RunningFiles) -> list[Message]:
    found: list[Message] = []
    while True:
        try:
            found += source.receive(0.0, 3)
        except EndOfStream:
            return found


@pytest.mark.parametrize("backend", ["threads:2", "processes:2"])
def test_references_to_frames_cross_to_other_processes(here: Path, backend: str) -> None:
    geometry(here)
    stack(here / "a.h5")
    chunks, _, _ = processed(here, input="a.h5", backend=backend)
    assert names(chunks) == [("a.h5", f"//{n}", n + 1) for n in range(4)]


def test_a_reference_stays_one_when_it_is_pickled_and_text_never_is_one() -> None:
    message = pickle.loads(pickle.dumps(Message(b"", 0, (file_frame("a b.cxi", "x//3"),))))
    (part,) = message.parts
    assert isinstance(part, FileFrame)
    assert (part, part.filename, part.event) == (b"a b.cxi x//3", "a b.cxi", "x//3")


def test_a_sender_cannot_have_a_file_opened(here: Path) -> None:
    stack(here / "a.h5")
    decode = registry.load("decode/hdf5_file")(geometry=geometry(here)).open(Context())
    with pytest.raises(RejectFrame, match="a message of 9 bytes was received"):
        decode(Message(b"", 0, (b"a.h5 //0\n",)))


def test_files_give_the_same_stream_as_the_same_frames_over_a_socket(here: Path) -> None:
    """CBF files, gzipped or not, and a stack."""
    geometry(here)
    files = [cbf(here / f"{n}.cbf", n) for n in range(3)]
    packed = here / "1.cbf.gz"
    packed.write_bytes(gzip.compress(files[1].read_bytes()))
    (here / "files.lst").write_text("0.cbf\n1.cbf.gz\n2.cbf\n")
    stack(here / "a.h5", 3)

    from_images, _, _ = processed(here, input="files.lst")
    from_stack, _, _ = processed(here, input="a.h5")
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(server, [[file.read_bytes()] for file in files])
        sent, _, _ = processed(here, zmq_input=server.address, zmq_request="next", data_format="cbf", max_frames=3)
        serving.join(timeout_s=10)

    assert names(from_images) == [("0.cbf", "//", 1), ("1.cbf.gz", "//", 2), ("2.cbf", "//", 3)]
    for one, two, three in zip(sent, from_images, from_stack, strict=True):
        assert one.peaks is not None
        for other in (two, three):
            assert other.peaks is not None
            assert other.serial == one.serial
            for name in ("fs", "ss", "intensity"):
                np.testing.assert_array_equal(getattr(other.peaks, name), getattr(one.peaks, name))


def test_header_values_masks_and_copied_headers_of_a_stack_belong_to_their_frame(here: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[9:12, 9:12] = 4  # where every frame has its first spot
    per_frame = np.zeros((3, HEIGHT, WIDTH), np.uint8)
    per_frame[2, 21:24, 9:12] = 1
    energies = np.array([9000.0, 9100.0, 9200.0])
    laser = np.array([True, False, True])
    stack(here / "a.h5", 3, energy=energies, clen=[[100.0]], mask=mask, own=per_frame, title=b"lysozyme", laser=laser)
    geometry(
        here,
        "photon_energy = /energy eV\nclen = /clen mm\nmask0_data = /mask\nmask0_badbits = 0x4\n"
        "mask1_data = /own\nmask1_badbits = 1\n" + STACK,
    )
    chunks, _, text = processed(here, input="a.h5", copy_header=["/title", "/laser"])
    assert [chunk.photon_energy_ev for chunk in chunks] == energies.tolist()
    assert [len(chunk.peaks or ()) for chunk in chunks] == [0, 1, 1]
    assert text.count("header/str//title = lysozyme\n") == 3
    assert re.findall(r"header/\w+//laser = (\w+)\n", text) == ["1", "0", "1"]
    assert text.count("average_camera_length = 0.100000 m\n") == 3


CXI_PEAKS = {
    "peaks/nPeaks": np.array([1, 2, 0]),
    "peaks/peakXPosRaw": np.array([[10.0, 0.0], [10.0, 10.25], [7.0, 7.0]]),
    "peaks/peakYPosRaw": np.array([[10.0, 0.0], [10.0, 22.0], [7.0, 7.0]]),
    "peaks/peakTotalIntensity": np.array([[900.0, 0.0], [500.0, 400.0], [1.0, 1.0]]),
}


@pytest.mark.parametrize(("options", "shift"), [({}, 0.5), ({"no_half_pixel_shift": True}, 0.0)], ids=["shift", "none"])
def test_peaks_come_from_a_cxi_file(here: Path, options: dict[str, Any], shift: float) -> None:
    stack(here / "a.cxi", 3, **CXI_PEAKS)
    geometry(here, FIXED + "peak_list = /peaks\n" + STACK)
    chunks, _, _ = processed(here, input="a.cxi", peaks="cxi", no_revalidate=True, threshold=None, **options)
    assert [len(chunk.peaks or ()) for chunk in chunks] == [1, 2, 0]
    assert chunks[1].peaks is not None
    np.testing.assert_allclose(chunks[1].peaks.fs, [10 + shift, 10.25 + shift], atol=0.01)
    np.testing.assert_allclose(chunks[1].peaks.ss, [10 + shift, 22 + shift])
    np.testing.assert_allclose(chunks[1].peaks.intensity, [500, 400])


def test_peaks_are_looked_at_again_in_the_pixels_as_those_of_messages_are(here: Path) -> None:
    stack(here / "a.cxi", 2, **{key: value[:2] for key, value in CXI_PEAKS.items()})
    geometry(here, FIXED + "peak_list = /peaks\n" + STACK)
    chunks, _, _ = processed(here, input="a.cxi", peaks="cxi", threshold=None)
    assert chunks[1].peaks is not None
    assert chunks[1].peaks.intensity[0] > 4000  # integrated, and no longer 500


def test_peaks_come_from_an_array_in_a_file_with_one_frame_and_pixels_need_not_be_read(here: Path) -> None:
    with h5py.File(here / "a.h5", "w") as file:
        file["entry/data"] = pixels_of(0)
        file["found"] = np.array([[10.0, 10.0, 7.0, 0.0], [20.0, 30.0, 8.0, 0.0]])
    geometry(here, FIXED + "data = /entry/data\npeak_list = /found\n")
    for more in ({"no_revalidate": True}, {"no_image_data": True}):
        chunks, _, _ = processed(here, input="a.h5", peaks="hdf5", threshold=None, min_squared_gradient=None, **more)
        assert names(chunks) == [("a.h5", "//", 2)]


def test_events_are_named_as_crystfel_names_them(here: Path) -> None:
    with h5py.File(here / "a.h5", "w") as file:
        for name, frames in (("b", 1), ("a", 2)):
            file[f"run/{name}/pixels"] = np.zeros((frames, 2, 3, 4))
        file["run/c/other"] = 1
        file["run/a/broken"] = h5py.ExternalLink("nowhere.h5", "/")
    with h5py.File(here / "a.h5") as file:
        found = list(events_of(file, "/run/a/pixels", ("%", 0, "ss", "fs")))
        assert found == ["//0", "//1"]
        assert list(events_of(file, "/run/a/pixels", ("%", "%", "ss", "fs"))) == ["//0/0", "//0/1", "//1/0", "//1/1"]
        with pytest.raises(KeyError):
            list(events_of(file, "/run/%/pixels", ("%", 0, "ss", "fs")))
        del file
    with h5py.File(here / "a.h5", "a") as file:
        del file["run/c"]
        assert list(events_of(file, "/run/%/pixels", ("%", 1, "ss", "fs"))) == ["a//0", "a//1", "b//0"]
        with pytest.raises(ValueError, match="4 dimensions"):
            list(events_of(file, "/run/%/pixels", ("%", "ss", "fs")))
    assert EventOfFile.parse("a//1").path("/run/%/pixels") == "/run/a/pixels"


def test_a_master_file_leads_to_the_files_with_the_frames(here: Path) -> None:
    for number, frames in ((1, 2), (2, 1)):
        with h5py.File(here / f"run_data_00000{number}.h5", "w") as file:
            file["data"] = np.stack([pixels_of(n) for n in range(frames)])
    with h5py.File(here / "run_master.h5", "w") as file:
        for number in (1, 2, 3):
            name = f"data_00000{number}"
            file[f"entry/data/{name}"] = h5py.ExternalLink(f"run_{name}.h5", "/data")
    geometry(here, FIXED + STACK.replace("/entry/data", "/entry/data/data_%"))
    chunks, _, _ = processed(here, input="run_master.h5")
    assert [(event, num) for _, event, num in names(chunks)] == [("000001//0", 1), ("000001//1", 2), ("000002//0", 1)]


GZIPPED: dict[str, dict[str, bool]] = {
    "gzip": {},
    "gzip shuffled": {"shuffle": True},
    "gzip shuffled, with a checksum": {"shuffle": True, "fletcher32": True},
}


@pytest.mark.parametrize("dtype", ["u1", "u2", ">i4", "f8"])
def test_compressed_stacks_are_read_past_hdf5_and_by_it_alike(here: Path, dtype: str) -> None:
    """As DECTRIS' files are: one chunk a frame; and as other writers make them: several chunks, or one never written."""
    frames = np.stack([pixels_of(n) for n in range(3)]).astype(dtype)
    ways = {"whole": (1, HEIGHT, WIDTH), "pieces": (1, HEIGHT // 2, WIDTH), "several": (2, HEIGHT, WIDTH)}
    with h5py.File(here / "a.h5", "w") as file:
        for name, chunks in ways.items():
            file.create_dataset(name, data=frames, chunks=chunks, **hdf5plugin.Bitshuffle())
        file.create_dataset("lz4", data=frames, chunks=ways["whole"], **hdf5plugin.LZ4())
        file.create_dataset("plain", data=frames, chunks=ways["whole"])
        for name, how in GZIPPED.items():
            file.create_dataset(name, data=frames, chunks=ways["whole"], compression="gzip", **how)
        hole = file.create_dataset(
            "hole", frames.shape, dtype, chunks=ways["whole"], fillvalue=7, **hdf5plugin.Bitshuffle()
        )
        hole[1] = frames[1]
    file = OpenFile(str(here / "a.h5"))
    decompressor = Decompressor("decode/hdf5_file", "hdf5")
    for name in (*ways, "lz4", "plain", *GZIPPED):
        for n in range(3):
            for undoing in (decompressor, None):
                found = pixels_of_event(file, EventOfFile((), (n,)), f"/{name}", ("%", "ss", "fs"), undoing)
                np.testing.assert_array_equal(found, frames[n])
                assert not found.flags.writeable
    assert (pixels_of_event(file, EventOfFile((), (0,)), "/hole", ("%", "ss", "fs"), decompressor) == 7).all()
    file.close()


def test_prefix_and_basename_change_the_names_in_lists(here: Path) -> None:
    (here / "run7").mkdir()
    assert Prefixed.checked("run7", basename=True)(Listed("/gpfs/a.cxi", "//1")) == Listed("run7/a.cxi", "//1")
    assert Prefixed.checked("run7_", basename=False)(parse_line("a.cxi")).filename == "run7_a.cxi"
    geometry(here)
    stack(here / "run7" / "a.h5", 1)
    (here / "files.lst").write_text("/gpfs/elsewhere/a.h5\n")
    chunks, _, _ = processed(here, input="files.lst", prefix="run7", basename=True)
    assert names(chunks) == [("run7/a.h5", "//0", 1)]
    _, report, _ = processed(here, input="files.lst", prefix="run7", basename=True, no_check_prefix=True)
    assert report.law_lines() == ["received 1 = delivered 0 + rejected 1 + dropped 0"]


def test_a_file_that_is_not_there_yet_is_waited_for(here: Path) -> None:
    source = Files(images=("late.cbf",), wait_for_file_s=60, poll_s=0.001).open(Context())
    assert source.receive(0.0, 5) == []
    assert source.status() == "0 frames of 1 file; waiting for late.cbf"
    cbf(here / "late.cbf", 0)
    (message,) = source.receive(0.0, 5)
    assert message.parts == (b"late.cbf //",)
    with pytest.raises(EndOfStream):
        source.receive(0.0, 5)


def test_no_file_is_an_error_before_anything_runs(here: Path) -> None:
    geometry(here)
    with pytest.raises(UserError, match=r"lost\.cxi: no such file"):
        Files(images=("lost.cxi",), data_format="hdf5", geometry=here / "detector.geom").open(Context())
    with pytest.raises(UserError, match="there is no such folder to watch"):
        Files(images=("nowhere",), watch=True).open(Context())
    (here / "detector.geom").write_text(FIXED + PANEL)
    with pytest.raises(UserError, match="has no directive 'data'"):
        registry.load("decode/hdf5_file")(geometry=here / "detector.geom").open(Context())


@pytest.fixture
def watching(here: Path) -> Iterator[RunningFiles]:
    (here / "run").mkdir()
    source = Files(images=("run",), watch=True, poll_s=0.001, settle_s=0.0).open(Context())
    yield source
    source.close()


def test_a_folder_gives_its_images_as_they_are_completed_and_none_twice(here: Path, watching: RunningFiles) -> None:
    def now() -> list[bytes]:
        return [bytes(message.parts[0]) for message in watching.receive(0.0, 10)]

    assert now() == []
    cbf(here / "run/b.cbf", 0)
    assert now() == [b"run/b.cbf //"]
    whole = cbf(here / "whole", 1).read_bytes()
    (here / "run/a.cbf").write_bytes(whole[:3000])
    assert now() == []
    assert watching.status() == "watching run: 1 frame of 1 file; 1 file not complete yet"
    (here / "run/a.cbf").write_bytes(whole)
    (here / "run/notes.txt").write_text("no image")
    assert now() == [b"run/a.cbf //"]
    assert now() == now() == []
    assert watching.findings().text == ""


def test_a_stack_that_grows_gives_the_frames_that_were_added(here: Path) -> None:
    source = Files(
        images=("*.h5",), watch=True, data_format="hdf5", geometry=geometry(here), poll_s=0.001, settle_s=0.0
    ).open(Context())
    decode = registry.load("decode/hdf5_file")(geometry=here / "detector.geom").open(Context())

    def now() -> list[tuple[str, int]]:
        found = [message for _ in range(3) for message in source.receive(0.0, 10)]
        return [(event, int(image.array("/entry/data").sum())) for event, _, image in map(decode, found)]

    wanted = [(f"a.h5 //{n}", int(pixels_of(n).sum())) for n in range(3)]
    with h5py.File(here / "a.h5", "w", libver="latest") as file:
        frames = file.create_dataset("entry/data", (2, HEIGHT, WIDTH), "i4", maxshape=(None, HEIGHT, WIDTH))
        frames[:] = [pixels_of(0), pixels_of(1)]
        file.swmr_mode = True
        assert now() == wanted[:2]
        frames.resize(3, axis=0)
        frames[2] = pixels_of(2)
        frames.flush()
        file.flush()
        assert now() == wanted[2:]
    assert now() == []
    decode.close()


def test_a_master_file_that_is_watched_gives_what_comes_into_the_files_that_it_leads_to(here: Path) -> None:
    """Also into one of them while a later one is there already."""

    def write(number: int, *frames: int) -> None:
        with h5py.File(here / f"run_data_{number}.h5", "a") as file:
            if "data" not in file:
                file.create_dataset("data", (0, HEIGHT, WIDTH), "i4", maxshape=(None, HEIGHT, WIDTH))
            pixels = file["data"]
            done = len(pixels)
            pixels.resize(done + len(frames), axis=0)
            pixels[done:] = [pixels_of(n) for n in frames]

    def now() -> list[tuple[str, int]]:
        found = [message for _ in range(4) for message in source.receive(0.0, 10)]
        decode = registry.load("decode/hdf5_file")(geometry=here / "detector.geom").open(Context())
        events = [(event, int(image.array("/entry/data/data_%").sum())) for event, _, image in map(decode, found)]
        decode.close()
        return events

    write(1, 0, 1)
    with h5py.File(here / "run_master.h5", "w") as file:
        for number in (1, 2, 3):
            file[f"entry/data/data_{number}"] = h5py.ExternalLink(f"run_data_{number}.h5", "/data")
    geometry(here, FIXED + STACK.replace("/entry/data", "/entry/data/data_%"))
    source = Files(
        images=("*_master.h5",), watch=True, data_format="hdf5", geometry=here / "detector.geom", settle_s=0.0
    ).open(Context())
    total = [int(pixels_of(n).sum()) for n in range(5)]
    assert now() == [("run_master.h5 1//0", total[0]), ("run_master.h5 1//1", total[1])]
    write(2, 2)
    assert now() == [("run_master.h5 2//0", total[2])]
    write(1, 3)
    write(2, 4)
    assert now() == [("run_master.h5 1//2", total[3]), ("run_master.h5 2//1", total[4])]
    assert now() == []
    assert source.findings().text == "1 file that others lead to did not come: run_data_3.h5"


def test_links_are_followed_to_files_that_are_there_or_not(here: Path) -> None:
    """A path that leads to a folder of another machine is looked for beside the file, as HDF5 does."""
    (here / "raw").mkdir()
    with h5py.File("raw/master.h5", "w") as file:
        file["here/data"] = h5py.ExternalLink("a.h5", "/data")
        file["away/data"] = h5py.ExternalLink("/no/such/folder/b.h5", "/data")
        file["away/other"] = h5py.ExternalLink(str(here / "c.h5"), "/data")
        file["own/data"] = np.zeros(3)
    with h5py.File("raw/master.h5") as file:
        assert list(files_led_to(file, "/here/data")) == ["raw/a.h5"]
        assert list(files_led_to(file, "/%/data")) == ["raw/b.h5", "raw/a.h5"]
        assert list(files_led_to(file, "/away/%")) == ["raw/b.h5", str(here / "c.h5")]
        assert list(files_led_to(file, "/own/data/%")) == list(files_led_to(file, "/none")) == []


def test_a_virtual_dataset_that_is_watched_is_said_to_miss_what_comes_later(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stack(here / "data.h5", 1)
    with h5py.File(here / "a_master.h5", "w") as file:
        with h5py.File(here / "data.h5") as data:
            layout = h5py.VirtualLayout(data["entry/data"].shape, data["entry/data"].dtype)
            layout[:] = h5py.VirtualSource(data["entry/data"])
        file.create_virtual_dataset("entry/data", layout)
    geometry(here)
    for name, is_said in (("data.h5", False), ("a_master.h5", True)):
        source = Files(
            images=(f"{name[:-1]}?",), watch=True, data_format="hdf5", geometry=here / "detector.geom", settle_s=0.0
        ).open(Context())
        assert [source.receive(0.0, 5), len(source.receive(0.0, 5))] == [[], 1]
        assert ("frames that come into them later are missed" in caplog.text) is is_said
        source.close()


def test_a_watched_run_ends_when_nothing_has_come_for_a_while(here: Path) -> None:
    geometry(here)
    (here / "run").mkdir()
    cbf(here / "run/a.cbf", 1)
    chunks, report, _ = processed(here, watch="run/*.cbf", no_data_timeout=0.3)
    assert names(chunks) == [("run/a.cbf", "//", 2)]
    assert report.law_lines() == ["received 1 = delivered 1 + rejected 0 + dropped 0"]


OPTION_ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "peaks of messages": (
        {"input": "a.cxi", "peaks": "msgpack"},
        "--peaks=msgpack takes peaks that come with the messages",
    ),
    "another format": ({"input": "a.cxi", "data_format": "cbf"}, r"the files that --input \(-i\) names are hdf5"),
    "peaks of CBF": ({"input": "a.cbf", "peaks": "cxi"}, "--peaks=cxi takes peaks that are in HDF5 files"),
    "CBF without pixels": ({"input": "a.cbf", "no_image_data": True}, "--peaks=cxi takes peaks that are in HDF5"),
    "an empty folder": ({"watch": "run"}, "--watch=run: it is not known what the files will be"),
    "two inputs": ({"watch": "run", "input": "a.cbf"}, r"--input \(-i\) and --watch exclude each other"),
}


@pytest.mark.parametrize("name", OPTION_ERRORS)
def test_options_that_do_not_go_with_image_files_say_so(name: str) -> None:
    options, wanted = OPTION_ERRORS[name]
    least = {"geometry": Path("a.geom"), "output": Path("a.stream"), "pdb": Path("a.cell")}
    with pytest.raises(UserError, match=wanted):
        graph_from_options({**least, **options})
