"""Wrong messages of all kinds against a slow reader: nothing crashes, and nothing is accepted that is no frame."""

from __future__ import annotations

import random
from typing import Any

import fuzz
import numpy as np
import pytest
from judge import Judge, Wrong
from mutators import KINDS, WIDTH, Mutator, Raw, array, good, packed, text
from slow_reader import Binary, Extension, Pairs

GROWTH_BYTES = 20 << 20
"""What the allocator may keep; a leak of 1000 bytes a message is as much for 20,000."""


def nested(depth: int) -> list[Any]:
    """Lists in each other."""
    return [nested(depth - 1)] if depth > 1 else []


def changed(**values: Any) -> bytes:
    """A good frame with other values; `image_` before a name means a part of the image."""
    rng = random.Random(3)
    frame = good(rng)
    pairs = [[key, value] for key, value in frame if key.decode() not in values]
    for name, value in values.items():
        if not name.startswith("image_"):
            pairs.append([text(name), value])
    image = next(value for key, value in pairs if key == b"detector_data")
    parts = {f"image_{key.decode()}": value for key, value in image} | values
    image[:] = [(key, parts[f"image_{key.decode()}"]) for key, _ in image]
    return packed(Pairs(pairs), rng, 0.0)


SIGNALLING_NAN = Binary(bytes.fromhex("0100a07f") * 3)
FAILED = {
    "a number behind a control character that strip() takes away and float() does not": changed(
        detector_distance=Raw(b"\x1e119.5")
    ),
    "an image whose shape is a time that is none": changed(image_shape=Extension(255, b"\xff" * 12)),
    "an image whose shape is an array that is broken": changed(
        image_shape=Pairs([(text("type"), 1), (text("data"), Binary(b"")), (text("shape"), [1])])
    ),
    "an image whose shape has very many sizes": changed(image_shape=[14] * 100),
    "an image whose kind is an array": changed(image_kind=array(np.arange(3), "<i2")),
    "a signalling NaN among the peaks": changed(
        peak_list=Pairs([(text("type"), text("<f4")), *((text(key), SIGNALLING_NAN) for key in ("fs", "ss", "intensity"))])
    ),
    "a map in an array that makes it one level too deep": b"\x91" + packed(Pairs([(text("a"), nested(31))]), random.Random(1)),
}  # fmt: skip
"""What fuzzing has found: a stage raised what is no rejection, warned, or refused a frame for what it need not read."""


@pytest.mark.parametrize("case", FAILED)
def test_what_was_wrong_once_is_right(case: str) -> None:
    judge = Judge()
    judge(FAILED[case])
    assert judge.counts["decoded"] == 1, judge.counts


def test_a_few_hundred_messages_are_judged_right() -> None:
    counts, wrong, done = fuzz.judge_many(2, range(700), [0, 0], float("inf"))
    assert wrong == []
    assert done == 700
    assert all(counts[f"made: {kind}"] > 10 for kind in KINDS)
    assert min(counts[name] for name in ("decoded", "with geometry", "with a peak list", "searched", "peaks")) > 100


def test_a_message_follows_from_its_seed_and_number_alone() -> None:
    one, other, another = Mutator(7), Mutator(7), Mutator(8)
    wanted = [one.message(number) for number in range(50)]
    assert [other.message(number) for number in reversed(range(50))] == wanted[::-1]
    assert [another.message(number) for number in range(50)] != wanted


@pytest.mark.parametrize("mistake", ["energy", "pixels", "peaks", "raises", "refuses"])
def test_the_judge_sees_what_is_wrong(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge()
    body = changed(detector_data=array(np.full((14, WIDTH), 9), "<i2"))
    judge(body)
    decode = judge._decode

    def broken(message: Any) -> Any:
        event, header, image = decode(message)
        if mistake == "raises":
            raise ZeroDivisionError
        if mistake == "pixels":
            image.arrays["detector_data"] = image.arrays["detector_data"] + np.int16(1)
        if mistake == "energy":
            header.raw["beam_energy"] = packed(9999.0, random.Random(1))
        if mistake == "peaks":
            header.raw["peak_list"] = packed(
                Pairs([(text(key), [5.0]) for key in ("fs", "ss", "intensity")]), random.Random(1)
            )
        if mistake == "refuses":
            image.broken["detector_data"] = image.arrays.pop("detector_data")
        return event, header, image

    monkeypatch.setattr(judge, "_decode", broken)
    with pytest.raises(Wrong):
        judge(body)


@pytest.mark.slow
def test_twenty_thousand_messages_are_judged_right_and_memory_stays_as_it_is() -> None:
    counts, wrong, done = fuzz.fuzz(3, range(20_000), 2, float("inf"))
    print(fuzz.table(counts, done))
    assert wrong == []
    assert done == 20_000
    assert counts[fuzz.GROWN] < GROWTH_BYTES


@pytest.mark.slow
def test_a_message_on_which_a_process_dies_is_named_and_the_others_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz._work", _die_at_eleven)
    counts, wrong, done = fuzz.fuzz(3, range(30), 1, float("inf"))
    assert wrong == [(11, "?", "the process ended with status -9")]
    assert (counts["crashed or hung"], done) == (1, 30)


def _die_at_eleven(seed: int, numbers: range, at: Any, until: float, results: Any, makes: fuzz.Makes) -> None:
    import os
    import signal

    if 11 in numbers:
        at[0] = 11
        os.kill(os.getpid(), signal.SIGKILL)
    results.send(fuzz.judge_many(seed, numbers, at, until, makes))
