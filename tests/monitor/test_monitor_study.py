"""The studies in docs/studies/monitor: what they compare, how their clocks go, and that they can measure."""

from __future__ import annotations

import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def cost(load_study: Any) -> ModuleType:
    return load_study("monitor/cost.py")


@pytest.fixture(scope="module")
def watched(load_study: Any) -> ModuleType:
    return load_study("monitor/watched.py")


def sample(cost: ModuleType, cpu_ms: float, rate: float) -> Any:
    """Ten seconds at so many frames per second, each of which took so much processor time."""
    none = dict.fromkeys(("sender_ms", "transport_ms", "cores", "sender_cores", "others_cores", "ready_cores"), 0.0)
    frames = round(10 * rate)
    return cost.scaling.Sample("threads:2", "rep", frames, 10.0, cpu_ms, processes_ms=(cpu_ms,), **none)


def test_a_monitor_costs_what_pairs_of_runs_differ_by_whatever_the_machine_does_meanwhile(cost: ModuleType) -> None:
    pairs = [
        cost.Pair(sample(cost, slow * 10.0, 3000.0 / slow), sample(cost, slow * 10.1, 2970.0 / slow), 0.1)
        for slow in (1.0, 3.0, 1.5, 2.0, 1.2)
    ]
    assert [pair.cost for pair in pairs] == pytest.approx([0.01] * 5)
    cells = cost.row("512x512", "threads:2", pairs).strip("| ").split(" | ")
    assert cells[3] == "0.990 (0.990 to 0.990)"
    assert cells[5] == "+1.0 % (+1.0 % to +1.0 %)"
    assert cells[6] == "10 %"


def test_clocks_hurry_and_go_on_from_where_they_were(watched: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    real = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: real[0])
    monkeypatch.setattr(time, "time", lambda: 1e9 + real[0])
    clock = watched.Clock(24.0)
    clock.hurry()
    assert (time.monotonic(), time.time()) == (100.0, 1e9 + 100.0)
    real[0] += 2.0
    assert (time.monotonic(), time.time(), clock.elapsed_s()) == (148.0, 1e9 + 148.0, 48.0)


@pytest.mark.slow
def test_the_cost_of_a_monitor_is_measured(cost: ModuleType) -> None:
    given = ["--sizes", "512x512", "--backends", "threads:2", "--pairs", "1", "--seconds", "3"]
    ((pair,),) = cost.main(given).values()
    assert pair.without.frames > 10
    assert pair.watched.nodes["monitor"] > 0
    assert "monitor" not in pair.without.nodes
    assert pair.page_cores > 0


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed")
def test_hours_are_watched_in_minutes(load_study: Any) -> None:
    samples = load_study("monitor/hours.py").main(["--hours", "0.1", "--size", "512x512"])
    assert [one.hours for one in samples] == sorted(one.hours for one in samples)
    assert samples[-1].frames >= 0.1 * 3600 * 100 * 0.9
    assert all(samples[-1].published[kind] > samples[0].published[kind] for kind in ("run", "frame"))
    last = samples[-1]
    assert min(last.run_mb, last.page_mb, last.browser_mb, last.objects_mb) > 0
