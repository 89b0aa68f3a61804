"""Trains of a karabo bridge: one message, many frames; and what nobody should send."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import msgpack_numpy
import numpy as np
import pytest
from karabo_bridge import deserialize, serialize
from karabo_bridge.server import ServerInThread
from karabo_bridge.simulation import AGIPDModule
from writers import SOURCE, karabo, train

from pipeline import Context, EndOfStream, Event, Message, RejectFrame, UserError
from pipeline.sender_numbers import SenderNumbers
from stages.decode.karabo import Karabo
from stages.decode.msgpack_map import MsgpackMap
from stages.files.geom.detector import Detector
from stages.records.header import Header
from stages.records.image import Image
from stages.simulation.apparatus import Apparatus, flat_geometry
from stages.simulation.as_karabo import DETECTOR
from stages.simulation.beamline import Beamline
from stages.source.simulate import Simulate
from stages.source.zmq_req import ZmqReq
from stages.wire.train_framing import TrainFraming
from stages.wire.trains import MOST_FRAMES, pulses_first

HEIGHT, WIDTH = 6, 8
Read = tuple[Event, Header, Image]
both_protocols = pytest.mark.parametrize("version", ["2.2", "1.0"])


def pixels(n: int, dtype: str = "u2", shape: tuple[int, ...] = (HEIGHT, WIDTH)) -> list[np.ndarray]:
    return list(np.random.default_rng(3).integers(0, 1000, (n, *shape)).astype(dtype))


def frames_of(parts: list[Any], image_source: str = "", pulse_axis: int | None = None) -> list[Message]:
    return TrainFraming(image_source, pulse_axis).frames_of([memoryview(bytes(part)) for part in parts], 7, None)


def read(messages: list[Message], **parameters: Any) -> list[Read]:
    decode = Karabo(**parameters).open(Context())
    return [decode(message) for message in messages]


def sent(data: dict[str, Any], version: str = "2.2", **how: Any) -> list[Read]:
    meta = {source: {"timestamp.tid": 12} for source in data}
    return read(frames_of(serialize(data, meta, protocol_version=version), **how))


def rejection(messages: list[Message]) -> RejectFrame:
    (message,) = messages
    with pytest.raises(RejectFrame) as rejected:
        read([message])[0][2].array("any")
    return rejected.value


@both_protocols
def test_a_frame_knows_its_train_its_pulse_and_what_the_train_says(version: str) -> None:
    (parts,) = karabo(pixels(3), version)
    found = read(frames_of(parts))
    assert [event for event, _, _ in found] == [f"10000000000 // {n}" for n in (0, 4, 8)]
    for n, (_, header, image) in enumerate(found):
        assert [header[key] for key in ("trainId", "pulseId", "cellId")] == [10_000_000_000, 4 * n, n]
        assert header[f"{SOURCE}/image.cellId"] == n
        assert header[f"{SOURCE}/timestamp.tid"] == 10_000_000_000
        assert header[f"{SOURCE}/image.passport"] == ["a", "b"]
        assert header.number("SA1_XTD2_XGM/XGM/DOOCS/energy") == 12000.0
        np.testing.assert_array_equal(image.array("any"), pixels(3)[n])


@pytest.mark.parametrize("version", ["2.2", "1.0"])
def test_pulses_that_are_the_last_dimension_are_told_apart(version: str) -> None:
    data, meta = AGIPDModule("SPB_DET_AGIPD1M-1/DET/0CH0:xtdf").gen_data(5)
    (source,) = data
    found = read(frames_of(serialize(data, meta, protocol_version=version)))
    assert len(found) == 64
    for n in (0, 1, 63):
        np.testing.assert_array_equal(found[n][2].array("any"), data[source]["image.data"][..., n])


def test_a_bridge_is_asked_for_trains_over_a_socket() -> None:
    with ServerInThread("tcp://127.0.0.1:*") as server:
        source = ZmqReq(address=server.endpoint, data_format="karabo", outstanding=1).open(Context())
        messages: list[Message] = []
        for train_id in (100, 101):
            server.feed(*train(pixels(5), train_id))
        for _ in range(2):
            messages += source.receive(30.0, 10)
        source.close()
    found = read(messages)
    assert [event for event, _, _ in found] == [f"{tid} // {4 * n}" for tid in (100, 101) for n in range(5)]
    for (_, _, image), wanted in zip(found, 2 * pixels(5), strict=True):
        np.testing.assert_array_equal(image.array("any"), wanted)


def test_a_frame_carries_its_own_pixels_and_no_others() -> None:
    (parts,) = karabo(pixels(50, shape=(100, 100)))
    messages = frames_of(parts)
    size = 100 * 100 * 2
    for message in messages:
        assert sum(memoryview(part).nbytes for part in message.parts) < size + 2000
        assert any(memoryview(message.parts[1]).obj is part for part in parts)
        assert message.preamble is messages[0].preamble
    there = pickle.loads(pickle.dumps(messages[7]))
    assert len(pickle.dumps(messages[7])) < size + 6000
    np.testing.assert_array_equal(read([there])[0][2].array("any"), pixels(50, shape=(100, 100))[7])


def test_modules_that_are_sources_of_their_own_are_named_in_the_geometry_file() -> None:
    ids = {"image.pulseId": np.arange(2)}
    modules = {f"D/DET/{m}CH0:xtdf": pixels(2, shape=(2, 3, 4))[m] for m in (0, 1)}
    data = {name: {"image.data": np.stack([stack, stack + 1]), **ids} for name, stack in modules.items()}
    panels = [
        f"p{m}/data = D/DET/{m}CH0:xtdf/image.data\np{m}/dim0 = %\np{m}/dim1 = 0\np{m}/dim2 = ss\np{m}/dim3 = fs\n"
        f"p{m}/min_fs = 0\np{m}/max_fs = 3\np{m}/min_ss = 0\np{m}/max_ss = 2\np{m}/corner_x = 0\np{m}/corner_y = 0\n"
        f"p{m}/fs = x\np{m}/ss = y\n"
        for m in (0, 1)
    ]
    text = "photon_energy = 9000 eV\nclen = 0.1 m\nres = 10000\nadu_per_photon = 1\n" + "".join(panels)
    detector = Detector.parse(text)
    for n, (_, header, image) in enumerate(sent(data)):
        views = detector.geom_for(header, image).views(image)
        for view, stack in zip(views, modules.values(), strict=True):
            np.testing.assert_array_equal(view, stack[0] + n)


def test_one_source_of_several_can_be_chosen() -> None:
    images = {
        name: {"image.data": np.stack(pixels(n)), "image.cellId": np.arange(n)} for name, n in (("A/1", 2), ("B/2", 3))
    }
    camera = {"CAM/1": {"data.image.pixels": pixels(1)[0]}}
    assert len(sent({**images, **camera}, image_source="B/*")) == 3
    assert len(sent({**images, **camera}, image_source="CAM/1/data.image.pixels")) == 1
    (unequal,) = frames_of(serialize(images))
    assert rejection([unequal]).reason == "unequal_sources"


@pytest.mark.parametrize(
    ("shape", "axis", "wanted"),
    [
        ((7, 6, 5), 0, lambda stack, n: stack[n]),
        ((6, 5, 7), -1, lambda stack, n: stack[..., n]),
        ((6, 7, 5), 1, lambda stack, n: stack[:, n]),
    ],
)
def test_the_dimension_of_pulses_can_be_said(shape: tuple[int, ...], axis: int, wanted: Callable[..., Any]) -> None:
    stack = np.arange(210, dtype="i4").reshape(shape)
    found = sent({"A/1": {"image.data": stack}}, pulse_axis=axis)
    assert len(found) == 7
    for n, (_, _, image) in enumerate(found):
        np.testing.assert_array_equal(image.array("any"), wanted(stack, n))


def test_blocks_do_not_change_what_a_copy_holds() -> None:
    array = np.random.default_rng(1).integers(0, 99, (130, 70, 3, 9)).astype("u2")
    for axis in range(4):
        np.testing.assert_array_equal(pulses_first(array, axis), np.moveaxis(array, axis, 0))


@both_protocols
@pytest.mark.parametrize(("dtype", "mark"), [("f4", np.nan), ("u2", 65535), ("i4", -(2**31))])
def test_what_the_mask_has_is_bad(version: str, dtype: str, mark: float) -> None:
    mask = np.zeros((2, HEIGHT, WIDTH), "u4")
    mask[1, 2, 3] = 8
    stack = np.stack(pixels(2, dtype))
    data = {"A/1": {"image.data": stack, "image.mask": mask, "image.cellId": np.arange(2)}}
    (_, _, good), (_, _, bad) = sent(data, version)
    assert not good.sentinels
    np.testing.assert_array_equal(good.array("any"), stack[0])
    wanted = stack[1].copy()
    wanted[2, 3] = mark
    np.testing.assert_array_equal(bad.array("any"), wanted)
    assert bad.sentinels.equal == (() if dtype == "f4" else (mark,))


@pytest.mark.parametrize(("train_ids", "lost"), [((100, 101, 102, 103), 0), ((100, 103), 10), ((100, 102, 104), 8)])
def test_trains_that_did_not_come_are_counted_with_their_frames(train_ids: tuple[int, ...], lost: int) -> None:
    numbers = SenderNumbers()
    framing = TrainFraming("", None)
    trains = [karabo(pixels(3 if tid == 102 else 5), train_id=tid)[0] for tid in train_ids]
    found = [one for parts in trains for one in read(framing.frames_of([memoryview(p) for p in parts], 0, None))]
    for serial, (_, header, _) in enumerate(found, 1):
        numbers.take(serial, header.sender_number)
    numbers.end()
    assert (numbers.tally.lost, numbers.tally.repeats, numbers.tally.restarts) == (lost, 0, 0)


def test_frames_that_are_sent_again_are_the_same_frames() -> None:
    (parts,) = karabo(pixels(2))
    for message in frames_of(parts):
        (again,) = frames_of(list(message.parts))
        (one,), (other,) = read([message]), read([again])
        assert one[0] == other[0]
        np.testing.assert_array_equal(one[2].array("any"), other[2].array("any"))
    (broken,) = frames_of(parts[:-1])
    assert rejection(frames_of(list(broken.parts))).reason == rejection([broken]).reason == "truncated"


def test_a_tag_and_an_envelope_may_come_first() -> None:
    (parts,) = karabo(pixels(2))
    assert [message.topic for message in frames_of([b"tag", *parts])] == [b"tag"] * 2
    assert len(frames_of([b"", *parts])) == 2


def changed(**changes: Any) -> list[bytes]:
    """A train of which the header of the images says something else; ... leaves it out."""
    (parts,) = karabo(pixels(3))
    at = next(n for n, part in enumerate(parts) if b"image.data" in part[:100])
    header = {key: value for key, value in {**msgpack.unpackb(parts[at]), **changes}.items() if value is not ...}
    return [*parts[:at], msgpack.packb(header), *parts[at + 1 :]]


def of_values(**values: Any) -> list[Any]:
    return serialize({"A/1": values}, {"A/1": {}})


def as_1_0(value: Any) -> list[bytes]:
    return [msgpack.packb({"A/1": {"image.data": value, "image.cellId": [0, 1]}}, default=msgpack_numpy.encode)]


STACK = np.zeros((3, 4, 5), "u2")
HOSTILE: list[tuple[list[Any], str]] = [
    (karabo(pixels(3))[0][:-1], "truncated"),
    (changed(dtype="O"), "bad_dtype"),
    (changed(dtype="object"), "bad_dtype"),
    (changed(dtype=["f4", "i4"]), "bad_dtype"),
    (changed(dtype="uint32"), "bad_array_size"),
    (changed(shape=[3, HEIGHT, WIDTH - 1]), "bad_array_size"),
    (changed(shape=[3, 1 << 40, 1 << 40]), "bad_array_size"),
    (changed(shape=[3, -HEIGHT, -WIDTH]), "bad_shape"),
    (changed(shape=[3, HEIGHT, 0]), "bad_shape"),
    (changed(shape=["3", HEIGHT, WIDTH]), "bad_shape"),
    (changed(shape=[1 << 62, HEIGHT, WIDTH]), "bad_shape"),
    (changed(shape=[3 * HEIGHT * WIDTH]), "bad_shape"),
    (changed(shape=...), "bad_train"),
    (changed(path=...), "bad_train"),
    (changed(path=5), "bad_train"),
    (changed(source=None), "bad_train"),
    (changed(content="pickle"), "bad_train"),
    (changed(more="x" * 70_000), "bad_train"),
    (changed(path="image.other"), "no_image"),
    (of_values(value=3), "no_image"),
    (of_values(**{"image.data": STACK}), "unknown_pulses"),
    (of_values(**{"image.data": np.zeros((3, 4, 3), "u2"), "image.cellId": np.arange(3)}), "unknown_pulses"),
    (of_values(**{"image.data": STACK, "image.cellId": np.arange(2)}), "bad_shape"),
    (of_values(**{"image.data": np.zeros((0, 4, 5), "u2"), "image.cellId": np.arange(0)}), "no_frames"),
    (
        of_values(**{"image.data": np.zeros((9999, 1, 2), "u1"), "image.cellId": np.arange(9999, dtype="u2")}),
        "too_many_frames",
    ),
    (of_values(**{"image.data": STACK, "image.mask": STACK[:2], "image.cellId": np.arange(3)}), "bad_mask"),
    (as_1_0(np.array([[[None, 1, 2]]] * 2, object)), "bad_dtype"),
    (as_1_0({"nd": True, "type": "<u2", "shape": [2, 2, 4], "data": [1] * 32}), "bad_array"),
    (as_1_0({"nd": True, "type": "<u2", "shape": [2, 9, 9], "data": bytes(16)}), "bad_array_size"),
    ([b"\x81\xa3A/1\x81\xa1a\xc1"], "not_msgpack"),
    ([b"\x81\xa3A/1\x81\xa1a"], "truncated"),
    ([b"\x81\xa3A/1\x80more"], "trailing_bytes"),
    ([b"\x81\xa3A/1" + b"\x81\xa1a" * 60 + b"\x80"], "too_deep"),
    ([b""], "empty_message"),
    ([], "empty_message"),
    ([b"Error: bad request"], "another_format"),
    ([msgpack.packb({"photon_energy": 3})], "another_format"),
    ([b"\x82\xaeframe_of_train"], "truncated"),
    ([b"\x82\xaeframe_of_train\x00\xa6values\x80"], "bad_train"),
    ([b"\x82\xaeframe_of_train\x92\xa1a\x90\xa6values\x80"], "bad_train"),
    ([b"\x82\xaeframe_of_train\x92\x01\x91\x01\xa6values\x80"], "bad_train"),
    ([b"\x82\xaeframe_of_train\x92\x01\x91\x01\xa6values\x80", b"x"], "bad_train"),
]


@pytest.mark.parametrize(("parts", "reason"), HOSTILE)
def test_what_is_no_train_is_one_rejected_message_that_says_why(parts: list[Any], reason: str) -> None:
    found = rejection(frames_of(parts))
    assert found.reason == reason, found.detail


def test_what_a_rejected_train_was_is_kept() -> None:
    parts = changed(dtype="O")
    (message,) = frames_of(parts)
    assert [bytes(part) for part in message.parts[1:]] == parts


def test_nothing_is_multiplied_by_the_number_of_frames() -> None:
    ids = np.zeros(MOST_FRAMES, "u1")
    many = {f"{n:04d}" + "x" * 900: ids for n in range(400)}
    data = {"A/1": {"image.data": np.zeros((MOST_FRAMES, 1, 2), "u1"), "image.cellId": ids, **many}}
    assert rejection(frames_of(serialize(data, protocol_version="1.0"))).reason == "too_large"


def simulated(**how: Any) -> Apparatus:
    return Beamline(style="karabo", size="60x50", res=800.0, hits=1.0, seed=4, **how).set_up()


def test_simulated_trains_are_what_the_peer_reads_and_give_the_simulated_frames() -> None:
    apparatus = simulated()
    frames = [apparatus.simulation.frame(n) for n in range(20)]
    messages = list(apparatus.wire.bodies(frames))
    assert len(messages) == 2
    data, meta = deserialize([bytes(part) for part in messages[1]])
    assert meta[DETECTOR]["timestamp.tid"] == 10_000_000_001
    assert data[DETECTOR]["image.data"].shape == (4, 50, 60)
    detector = Detector.parse(apparatus.geometry_text)
    found = [one for parts in messages for one in read(frames_of(parts))]
    for frame, (event, header, image) in zip(frames, found, strict=True):
        geom = detector.geom_for(header, image)
        assert event == apparatus.wire.event_of(frame)
        assert geom.photon_energy_ev == pytest.approx(frame.geom.photon_energy_ev, rel=1e-9)
        assert geom.mean_clen_m == pytest.approx(0.13)
        np.testing.assert_array_equal(geom.views(image)[0], *frame.arrays.values())


def test_trains_are_simulated_in_a_graph_too() -> None:
    source = Simulate(style="karabo", size="60x50", res=800.0, frames=18).open(Context())
    events = [event for _ in range(2) for event, _, _ in read(list(source.receive(1.0, 100)))]
    assert events == [f"{10_000_000_000 + n // 16} // {n % 16}" for n in range(18)]
    with pytest.raises(EndOfStream):
        source.receive(1.0, 1)


def test_a_geometry_file_that_names_no_sources_is_refused_by_the_simulator(tmp_path: Path) -> None:
    (tmp_path / "om.geom").write_text(flat_geometry(60, 50, 800.0))
    with pytest.raises(UserError, match="SOURCE/key"):
        simulated(geometry=tmp_path / "om.geom")


def test_the_decoder_of_messagepack_says_what_reads_a_train() -> None:
    decode = MsgpackMap().open(Context())
    with pytest.raises(RejectFrame, match="--data-format=karabo"):
        decode(Message(b"", 0, (karabo(pixels(1))[0][0],)))


def mutated(rng: np.random.Generator, whole: list[bytes]) -> list[bytes]:
    """A train with some bytes changed, cut off or moved, as a rule in what says how to read it."""
    parts = list(whole)
    small = [n for n, part in enumerate(parts) if len(part) < 280]
    n = int(rng.choice(small if small and rng.random() < 0.9 else len(parts)))
    body = bytearray(parts[n])
    match rng.integers(5):
        case 0:
            del body[int(rng.integers(len(body) + 1)) :]
        case 1:
            at = int(rng.integers(len(body) + 1))
            body[at:at] = rng.bytes(int(rng.integers(1, 9)))
        case 2:
            del parts[int(rng.integers(len(parts)))]
            return parts
        case _:
            for at in rng.integers(len(body), size=rng.integers(1, 5)):
                body[at] ^= int(rng.integers(1, 256))
    parts[n] = bytes(body)
    return parts


def feed_mutations(number: int, seed: int) -> int:
    """Read so many mutated trains; return how many frames came out of them."""
    rng = np.random.default_rng(seed)
    wholes = [karabo(pixels(3), version)[0] for version in ("2.2", "1.0")]
    decode, framing = Karabo().open(Context()), TrainFraming("", None)
    read_well = 0
    for _ in range(number):
        parts = mutated(rng, wholes[rng.integers(2)])
        messages = framing.frames_of([memoryview(part) for part in parts], 0, None)
        assert 1 <= len(messages) <= MOST_FRAMES
        for message in messages:
            try:
                _, header, image = decode(message)
                assert image.array("any").nbytes <= sum(map(len, parts))
            except RejectFrame:
                continue
            read_well += 1
            assert header.sender_number is None or header.sender_number.number >= 0
    return read_well


def test_mutated_trains_are_read_or_rejected() -> None:
    assert 500 < feed_mutations(1000, seed=1) < 3000


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 10))
def test_two_hundred_thousand_mutated_trains_are_read_or_rejected(seed: int) -> None:
    assert feed_mutations(25_000, seed) > 12_500
