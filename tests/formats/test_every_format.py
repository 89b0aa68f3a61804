"""Every data format gives the same pixels, the same masks and the same stream, whoever has written it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from writers import DISTANCE_M, ENERGY_EV, FORMATS, Format, Parts, Pixels, one_panel

from pipeline import Context, EndOfStream, Frame, Message, Rejected, RejectFrame, UserError, registry
from pipeline.running.dead_letters import DeadLetters
from pipeline.running.job import run
from pipeline.running.leaves import Arrived
from stages.commands.index.graph import graph_from_options
from stages.files.geom.detector import Detector
from stages.files.geom.parser import completed
from stages.files.stream import Chunk, read_stream
from stages.records.header import Header
from stages.records.image import Image
from stages.records.told import SeriesKeys
from stages.simulation.apparatus import Apparatus
from stages.simulation.as_map import IN_MAPS
from stages.simulation.settings import Settings
from stages.source.replay import Replay
from stages.wire.formats import DECODERS, IN_PARTS, NEVER_ALONE, SAID_ONCE
from stages.wire.framing import framing_of
from stages.wire.serving import FrameServer, serve_in_thread

HEIGHT, WIDTH = 37, 53
FRAMES = 4
"""Of the stream; how many messages these are is the format's affair."""

GEOMETRY = one_panel(WIDTH, HEIGHT)
each_format = pytest.mark.parametrize("form", FORMATS, ids=str)
one_of_each = pytest.mark.parametrize("form", {form.name: form for form in reversed(FORMATS)}.values(), ids=str)


def pixels_of(dtype: str, seed: int = 1) -> Pixels:
    """Photons, some bright ones, and what else a type can hold."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    pixels = rng.poisson(2.0, (HEIGHT, WIDTH)).astype(np.int64)
    most = int(np.iinfo(kind).max) - 1 if kind.kind in "iu" else 10_000
    pixels[rng.integers(0, HEIGHT, 20), rng.integers(0, WIDTH, 20)] = rng.integers(0, most, 20)
    pixels[0, 0] = most
    if kind.kind == "i":
        pixels[3, 4] = np.iinfo(kind).min
    return pixels.astype(kind)


def decoder(form: Format, context: Context | None = None) -> Any:
    return registry.load(DECODERS[form.name])().open(context or Context())


def detector_of(form: Format) -> Detector:
    """The geometry file, with what the sender says of the series where it has nothing."""
    context = Context()
    decoder(form, context)
    keys: Any = context.published.get(SeriesKeys)
    text = form.places + GEOMETRY
    return Detector.parse(completed(text, keys.energy_ev, keys.distance_m) if keys is not None else text)


def frames_of(form: Format, messages: list[Parts]) -> list[Message]:
    """What a source makes of messages."""
    framing = framing_of(form.name)
    return [frame for parts in messages for frame in framing.frames_of([memoryview(part) for part in parts], 0, None)]


def decoded(form: Format, frames: list[Pixels]) -> Iterator[tuple[Header, Image]]:
    decode = decoder(form)
    for message in frames_of(form, form.write(frames)):
        _, header, image = decode(message)
        yield header, image


@pytest.mark.parametrize(("form", "dtype"), [(form, dtype) for form in FORMATS for dtype in form.dtypes], ids=str)
def test_pixels_are_what_the_writer_was_given(form: Format, dtype: str) -> None:
    frames = [pixels_of(dtype, seed) for seed in (1, 2)]
    images = [image.array(form.key) for _, image in decoded(form, frames)]
    for array, pixels in zip(images, frames, strict=True):
        np.testing.assert_array_equal(array, pixels)
        assert array.dtype.isnative
        assert not array.flags.writeable


@each_format
def test_what_marks_a_pixel_without_a_value_becomes_the_mask(form: Format) -> None:
    detector = detector_of(form)
    for dtype in form.dtypes:
        sentinel = form.sentinel(np.dtype(dtype))
        pixels = np.full((HEIGHT, WIDTH), 3, dtype)
        if sentinel is not None:
            pixels[5, 7:9] = sentinel
        ((header, image),) = decoded(form, [pixels])
        geom = detector.geom_for(header, image)
        wanted = np.zeros((HEIGHT, WIDTH), np.uint8)
        wanted[5, 7:9] = sentinel is not None
        np.testing.assert_array_equal(geom.bad[0], wanted)


@each_format
def test_energy_and_distance_are_read(form: Format) -> None:
    ((header, image),) = decoded(form, [pixels_of(form.dtypes[0])])
    geom = detector_of(form).geom_for(header, image)
    assert geom.photon_energy_ev == pytest.approx(12000.0, rel=1e-6)
    assert geom.clen_m[0] == pytest.approx(0.12)


OTHERS = {
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(600),
    "msgpack": b"\x81\xa1a\x01" + bytes(600),
    **{form.name: form.write([pixels_of("i4")])[-1][form.told_by] for form in reversed(FORMATS)},
}


@one_of_each
def test_messages_of_another_format_are_rejected_with_the_option_that_reads_them(form: Format) -> None:
    decode = decoder(form)
    for name, body in OTHERS.items():
        if name == form.name:
            continue
        with pytest.raises(RejectFrame) as rejected:
            decode(Message(b"", 0, (body,)))
        if name in DECODERS:
            assert f"--data-format={name}" in rejected.value.detail


def test_messages_that_are_no_messagepack_say_what_reads_them() -> None:
    decode = registry.load("decode/msgpack_map")().open(Context())
    for form in FORMATS:
        with pytest.raises(RejectFrame, match=f"--data-format={form.name}"):
            decode(Message(b"", 0, (OTHERS[form.name],)))


@each_format
@given(data=st.data())
def test_whatever_is_done_to_a_message_it_is_read_or_rejected(form: Format, data: st.DataObject) -> None:
    pixels = pixels_of("i4")
    *before, parts = form.write([pixels])
    number = data.draw(st.integers(0, len(parts) - 1))
    body = bytearray(parts[number])
    match data.draw(st.sampled_from(["cut", "flip", "insert", "remove"])):
        case "cut":
            del body[data.draw(st.integers(0, len(body))) :]
        case "flip":
            for at in data.draw(st.lists(st.integers(0, len(body) - 1), min_size=1, max_size=4)):
                body[at] ^= data.draw(st.integers(1, 255))
        case "insert":
            at = data.draw(st.integers(0, len(body)))
            body[at:at] = data.draw(st.binary(min_size=1, max_size=20))
        case "remove":
            at = data.draw(st.integers(0, len(body) - 1))
            del body[at : at + data.draw(st.integers(1, 50))]
    decode = decoder(form)
    for message in frames_of(form, [*before, [*parts[:number], bytes(body), *parts[number + 1 :]]]):
        try:
            _, _, image = decode(message)
            array = image.array(form.key)
        except RejectFrame:
            continue
        assert array.nbytes <= form.most_expansion * sum(map(len, [*parts, body]))
        if form.has_checksum and array.shape == pixels.shape and array.dtype == pixels.dtype:
            np.testing.assert_array_equal(array, pixels)


@one_of_each
def test_a_file_for_each_part_is_read_as_the_messages_are(form: Format, tmp_path: Path) -> None:
    """As whoever captures them without `streamajig record` may keep them."""
    frames = [pixels_of(form.dtypes[0], seed) for seed in range(FRAMES)]
    messages = form.write(frames)
    for n, parts in enumerate(messages):
        for k, part in enumerate(parts):
            name = f"{n:03d}.{k}.bin" if len(parts) > 1 else f"{n:03d}.bin"
            (tmp_path / name).write_bytes(part)
    found = everything(Replay(files=(tmp_path,), data_format=form.name))
    wanted = frames_of(form, messages)
    assert [[bytes(part) for part in message.parts] for message in found] == [
        [bytes(part) for part in message.parts] for message in wanted
    ]
    assert len(found) == FRAMES


@pytest.mark.parametrize("form", [form for form in FORMATS if form.name in NEVER_ALONE], ids=str)
def test_a_single_part_of_a_message_that_has_several_is_refused_with_what_to_do(form: Format, tmp_path: Path) -> None:
    *_, parts = form.write([pixels_of(form.dtypes[0])])
    (tmp_path / "pixels.bin").write_bytes(parts[-1])
    with pytest.raises(UserError, match=r"pixels.bin is one part, .* have several: name .* X.0.bin, X.1.bin and so on"):
        Replay(files=(tmp_path / "pixels.bin",), data_format=form.name).open(Context())


@pytest.mark.parametrize("name", sorted(IN_PARTS | SAID_ONCE))
def test_dead_letters_are_read_like_other_recorded_messages(name: str, tmp_path: Path) -> None:
    """With all their parts, and what their sender had said before them."""
    form = next(form for form in FORMATS if form.name == name)
    frames = [pixels_of(form.dtypes[0], seed) for seed in range(FRAMES)]
    letters = DeadLetters(tmp_path)
    for serial, message in enumerate(frames_of(form, form.write(frames)), 1):
        rejected = Rejected(serial, "", 0, "peaks", "odd", "because", Frame(serial))
        parts = tuple(bytes(part) for part in message.parts)
        letters.add(Arrived("sink", serial, "", 0, None, rejected, {}, parts, preamble=message.preamble))
    letters.close()
    decode = decoder(form)
    found = everything(Replay(files=(tmp_path,), data_format=name))
    assert len({id(message.preamble) for message in found}) == 1
    for message, pixels in zip(found, frames, strict=True):
        np.testing.assert_array_equal(decode(message)[2].array(form.key), pixels)


def everything(source: Replay) -> list[Message]:
    """What the source has."""
    running = source.open(Context())
    found: list[Message] = []
    with contextlib.suppress(EndOfStream):
        while True:
            found += running.receive(0.0, 1)
    running.close()
    return found


@one_of_each
def test_frames_over_a_socket_give_the_same_stream_as_messagepack(
    form: Format, beamline: tuple[Apparatus, list[Pixels]], tmp_path: Path
) -> None:
    apparatus, frames = beamline
    maps = [[apparatus.wire.body(apparatus.simulation.frame(n))] for n in range(len(frames))]
    wanted = indexed("msgpack", maps, IN_MAPS, apparatus, tmp_path)
    found = indexed(form.name, form.write(frames), form.places, apparatus, tmp_path)
    assert [chunk.serial for chunk in found] == [chunk.serial for chunk in wanted] == [1, 2, 3, 4]
    for one, other in zip(found, wanted, strict=True):
        assert one.peaks is not None
        assert other.peaks is not None
        for name in ("fs", "ss", "intensity"):
            np.testing.assert_array_equal(getattr(one.peaks, name), getattr(other.peaks, name))
        (crystal,), (same) = one.crystals, other.crystals[0]
        np.testing.assert_allclose(crystal.reciprocal_per_nm, same.reciprocal_per_nm, atol=1e-6)
        np.testing.assert_array_equal(crystal.reflections.hkl, same.reflections.hkl)
        np.testing.assert_allclose(crystal.reflections.intensity, same.reflections.intensity, atol=0.02)


def indexed(name: str, messages: list[Parts], places: str, apparatus: Apparatus, folder: Path) -> list[Chunk]:
    """The chunks of the stream that a run with pixels searched, indexed and integrated makes of messages."""
    (folder / f"{name}.geom").write_text(apparatus.geometry_text.replace(IN_MAPS, places))
    (folder / "lysozyme.cell").write_text(apparatus.cell_text)
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(server, messages)
        graph = graph_from_options(
            {
                "zmq_input": server.address,
                "zmq_request": "next",
                "data_format": name,
                "geometry": folder / f"{name}.geom",
                "pdb": folder / "lysozyme.cell",
                "peaks": "peakfinder8",
                "threshold": 10.0,
                "indexing": "pairs",
                "in_order": True,
                "max_frames": FRAMES,
                "output": folder / f"{name}.stream",
            }
        )
        report = run(graph)
        serving.join(timeout_s=10)
    assert report.law_lines() == [f"received {FRAMES} = delivered {FRAMES} + rejected 0 + dropped 0"]
    return list(read_stream(folder / f"{name}.stream").chunks)


@pytest.fixture(scope="module")
def beamline() -> tuple[Apparatus, list[Pixels]]:
    """A beamline with crystals in the beam, and what its detector sees."""
    settings = Settings(seed=5, hits=1.0, spurious=0.0, energy_jitter=0.0)
    apparatus = Apparatus.make(
        settings, style="om", size="400x400", res=2000.0, energy_ev=ENERGY_EV, distance_mm=1000 * DISTANCE_M
    )
    frames = []
    for n in range(FRAMES):
        (pixels,) = apparatus.simulation.frame(n).arrays.values()
        frames.append(np.asarray(pixels, "i4"))
    return apparatus, frames


LATE = """
import json, sys
sys.path[:0] = sys.argv[1:]
from signatures_of_kernels import compiled_since, signatures
from test_every_format import FORMATS, decoder, frames_of, pixels_of

late = {}
for form in FORMATS:
    messages = frames_of(form, form.write([pixels_of(form.dtypes[0]), pixels_of(form.dtypes[0], 2)]))
    decode = decoder(form)
    before = signatures()
    for message in messages:
        _, _, image = decode(message)
        image.array(form.key)
    late[str(form)] = compiled_since(before)
print(json.dumps(late))
"""


def test_no_frame_waits_for_the_compiler_of_its_decoder() -> None:
    here = Path(__file__).parent
    shown = subprocess.run(
        [sys.executable, "-c", LATE, str(here), str(here.parent)], capture_output=True, text=True, check=True
    )
    assert json.loads(shown.stdout) == {str(form): [] for form in FORMATS}
