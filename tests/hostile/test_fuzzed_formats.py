"""Hostile messages of every data format: nothing crashes or hangs, and nothing is accepted that a checksum says is wrong."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import fuzz
import h5py
import numpy as np
import pytest
from format_judge import FormatJudge, slow_cbf
from format_messages import GOOD, HEIGHT, WIDTH, Good
from format_mutators import KINDS, FormatMutator, Hostile
from fuzz_formats import of_format
from judge import Wrong

GROWTH_BYTES = 20 << 20
"""What the allocator may keep."""

each_format = pytest.mark.parametrize("name", GOOD)


@each_format
def test_a_few_hundred_messages_are_judged_right(name: str) -> None:
    counts, wrong, done = fuzz.judge_many(2, range(300), [0, 0], float("inf"), partial(of_format, name))
    assert wrong == []
    assert done == 300
    assert all(counts[f"made: {kind}"] > 5 for kind in KINDS)
    assert counts["good and read right"] >= counts["made: none"]
    assert min(counts["decoded"], counts["with geometry"]) > 20
    assert sum(number for what, number in counts.items() if what.startswith("rejected")) > 50


@each_format
def test_a_message_follows_from_its_seed_and_number_alone(name: str) -> None:
    one, other, another = (FormatMutator(name, seed) for seed in (7, 7, 8))
    wanted = [compared(one.message(number)[1]) for number in range(30)]
    assert [compared(other.message(number)[1]) for number in reversed(range(30))] == wanted[::-1]
    assert [compared(another.message(number)[1]) for number in range(30)] != wanted


def compared(hostile: Hostile) -> Any:
    """What has to be the same; HDF5 writes into some files when they were written."""
    if (hostile.name, hostile.kind) == ("hdf5", "structure"):
        return [[len(part) for part in parts] for parts in hostile.messages]
    return hostile.messages


@pytest.mark.slow
@each_format
def test_twenty_thousand_messages_are_judged_right_and_memory_stays_as_it_is(name: str) -> None:
    counts, wrong, done = fuzz.fuzz(3, range(20_000), 1, float("inf"), partial(of_format, name))
    print(fuzz.table(counts, done, KINDS))
    assert wrong == []
    assert done == 20_000
    assert counts[fuzz.GROWN] < GROWTH_BYTES


# --- what fuzzing has found -----------------------------------------------------------------------------------------


def judged(name: str, messages: list[list[bytes]]) -> dict[str, int]:
    """What comes of messages."""
    judge = FormatJudge(name)
    judge(Hostile(name, "structure", messages, _good(name)))
    return dict(judge.counts)


def _good(name: str) -> Good:
    return GOOD[name](np.random.default_rng(1))


def hdf5_with(fill: Callable[[Any], None]) -> list[list[bytes]]:
    """A file with pixels, energy and distance, and what else is filled in."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["entry/data/data"] = np.ones((HEIGHT, WIDTH), "i4")
        file["LCLS/photon_energy"], file["LCLS/clen"] = 12000.0, np.array([0.12])
        fill(file)
    return [[buffer.getvalue()]]


def test_a_data_set_that_holds_nothing_is_no_reason_to_lose_the_frame() -> None:
    counts = judged("hdf5", hdf5_with(lambda file: file.update({"more": h5py.Empty("f4")})))
    assert counts["with geometry"] == 1


def test_an_image_is_shown_without_reading_what_cannot_be_read() -> None:
    def fill(file: Any) -> None:
        stored = file.create_dataset("more", (HEIGHT, WIDTH), "f4", chunks=(HEIGHT, WIDTH), fletcher32=True)
        stored.id.write_direct_chunk((0, 0), bytes(24))

    assert judged("hdf5", hdf5_with(fill))["with geometry"] == 1


def test_a_checksum_with_a_space_before_its_colon_counts() -> None:
    body = _good("cbf").messages[0][0].replace(b"Content-MD5:", b"Content-MD5 :")
    assert judged("cbf", [[body]])["read again, with the checksum"] == 1
    at = body.index(b"\x0c\x1a\x04\xd5") + 60
    changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
    assert judged("cbf", [[changed]])["rejected: wrong_checksum"] == 1


# --- the judge itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mistake", ["pixels", "raises", "refuses", "large"])
def test_the_judge_sees_what_is_wrong(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    good = _good("cbf")
    judge = FormatJudge("cbf")
    judge(Hostile("cbf", "none", good.messages, good))
    decode = judge._decode

    def broken(message: Any) -> Any:
        event, header, image = decode(message)
        (array,) = image.arrays.values()
        if mistake == "raises":
            raise ZeroDivisionError
        if mistake == "pixels":
            changed = array + np.ones((), array.dtype)
            changed.flags.writeable = False
            image.arrays[""] = changed
        if mistake == "refuses":
            del image.arrays[""]
        if mistake == "large":
            image.arrays[""] = np.broadcast_to(np.zeros((), "i4"), (50_000, 50_000))
        return event, header, image

    monkeypatch.setattr(judge, "_decode", broken)
    monkeypatch.setattr("format_judge.touch", lambda array: None)
    with pytest.raises(Wrong):
        judge(Hostile("cbf", "none", good.messages, good))


def test_the_slow_reader_of_cbf_images_knows_all_widths_of_differences() -> None:
    steps = bytes.fromhex("05 ff 80 e8 03 80 00 80 a0 86 01 00 80 00 80 00 00 00 80 00 00 00 80 00 00 00 00")
    header = f"--CIF-BINARY-FORMAT-SECTION--\r\nX-Binary-Size: {len(steps)}\r\n\r\n".encode()
    values, checked = slow_cbf(header + b"\x0c\x1a\x04\xd5" + steps)
    assert (values, checked) == ([5, 4, 1004, 101004, (101004 + (1 << 31)) & 0xFFFFFFFF], False)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("cbf", 96_768),
        ("hdf5", 71_170),
        *(("karabo-1.0", number) for number in (12_081, 38_293, 73_902, 121_133, 126_691, 145_051, 157_660, 186_481)),
    ],
)
def test_what_was_wrong_once_is_judged_right(name: str, number: int) -> None:
    """Processes that died, exceptions that were no rejections, and a value that the slow reader did not see."""
    counts, wrong, done = fuzz.judge_many(1, range(number, number + 1), [0, 0], float("inf"), partial(of_format, name))
    assert wrong == []
    assert done == 1
    assert counts["wrong"] == 0
