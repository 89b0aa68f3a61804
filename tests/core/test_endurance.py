"""The study of many small frames in docs/studies/endurance, on a few of them: nothing grows, and it would be seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest


@pytest.fixture(scope="module")
def study(load_study: Any) -> Any:
    return load_study("endurance/frames.py")


def test_what_grows_is_named(study: Any) -> None:
    flat = [study.Sample(frames, 4, 90_000_000, 60, 5_000_000, 0) for frames in range(100, 1001, 100)]
    rows = study.pieces(flat, 1000)
    assert [row.frames for row in rows] == [200, 400, 600, 800, 1000]
    assert study.growth(rows) == []
    leaky = [replace(one, memory=one.memory + 20_000 * one.frames, descriptors=one.frames) for one in flat]
    assert study.growth(study.pieces(leaky, 1000)) == ["memory by 12.0 MB", "descriptors by 600"]
    left = [replace(one, memfd=one.frames * 100_000, shm=one.frames) for one in flat]
    assert study.growth(study.pieces(left, 1000)) == ["shared memory by 60.0 MB", "/dev/shm by 600 bytes"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "socket"),
    [
        ("serial", "rep"),
        ("threads:2", "rep"),
        ("threads:2", "pub"),
        ("processes:2", "rep"),
        ("processes:2", "pub"),
        ("dask:2", "rep"),
    ],
)
def test_nothing_grows_over_five_thousand_frames(study: Any, backend: str, socket: str) -> None:
    if backend.startswith("dask"):
        pytest.importorskip("distributed")
    assert study.main(["--backend", backend, "--socket", socket, "--frames", "5000"]) == 0
