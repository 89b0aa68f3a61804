"""Spots sorted and counted, against plain numpy; and the chance of the counts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.index._attempts import vectors_within
from stages.index._kernels import spots as _spots
from stages.records.geometry import DetGeom, Panel
from stages.records.peaklist import PeakList

seeds = st.integers(0, 10**6)


def chernoff(m: int, n: int, p: float) -> float:
    """n KL(m/n || p), 0 where m/n is not above p."""
    f = m / n
    if f <= p:
        return 0.0
    return n * (f * math.log(f / p) + ((1 - f) * math.log((1 - f) / (1 - p)) if f < 1 else 0.0))


def test_a_spot_in_the_beam_never_counts():
    spots = np.zeros((3, 8))
    counts = np.ones(_spots.N_COUNTS, np.int64)
    _spots.count(np.eye(3) * 50, spots, 8, counts)
    assert counts.tolist() == [0] * 7


@given(n=st.integers(1, 500), fractions=st.lists(st.floats(0, 1), min_size=6, max_size=6).map(sorted))
@settings(max_examples=60, deadline=None)
def test_the_significance_is_the_best_chernoff_bound(n, fractions):
    counts = np.array([int(f * n) for f in fractions] + [n], np.int64)
    expected = max(chernoff(m, n, (2 * t) ** 3) for m, t in zip(counts[:6], _spots.THRESHOLDS, strict=True))
    assert _spots.score_of_counts(counts, n) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_chance_stays_below_what_the_significance_bounds():
    """Of lists of random misfits, no more than exp(-S) reach the S of one threshold (Chernoff's bound, on the tail)."""
    rng = np.random.default_rng(1)
    n, trials, p = 20, 20_000, 0.064
    m = rng.binomial(n, p, trials)
    for k in range(3, 8):
        assert (m >= k).mean() <= math.exp(-chernoff(k, n, p)) + 3 / math.sqrt(trials)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_preparation_sorts_drops_beam_spots_and_merges_doubles(seed):
    rng = np.random.default_rng(seed)
    q = rng.normal(size=(40, 3)) * 0.1
    doubled = np.concatenate([q, q[:10] + 1e-6, [[0.001, 0, 0]], [[np.nan, 0, 0]], [[np.inf, 0, 0]]])
    spots = np.empty((3, len(doubled)))
    n = _spots.prepare(rng.permutation(doubled), 0.01, 1e-3, spots)
    length = np.linalg.norm(spots[:, :n], axis=0)
    assert (np.diff(length) >= 0).all()
    assert length.min() >= 0.0085
    gaps = [np.linalg.norm(spots[:, i] - spots[:, j]) for i, j in itertools.combinations(range(n), 2)]
    assert min(gaps) >= 1e-3
    kept = {tuple(np.round(x, 4)) for x in q if np.linalg.norm(x) >= 0.0085}
    assert n >= len(kept) - 2


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_scattering_vectors_are_those_of_the_geometry(seed):
    rng = np.random.default_rng(seed)
    n, panels = 40, tuple(Panel(f"p{i}", max_fs=99, max_ss=99) for i in range(3))
    origin = rng.normal(size=(3, 3)) * 0.01 + [0.0, 0.0, 0.1]
    steps = rng.normal(size=(2, 3, 3)) * 1e-4
    geom = DetGeom(panels, origin, *steps, 9000.0, np.full(3, 0.1), ())
    fs, ss = rng.uniform(0, 100, (2, n))
    fs[:2] = np.nan, np.inf
    peaks = PeakList.make(rng.integers(0, 3, n), fs, ss, np.ones(n))
    with np.errstate(invalid="ignore"):
        wanted = geom.q_per_angstrom(peaks.panel, peaks.fs, peaks.ss)
    most = float(np.median(np.linalg.norm(wanted[2:], axis=1)))
    q, within = vectors_within(peaks, geom, most)
    np.testing.assert_allclose(q, wanted, rtol=1e-13, atol=1e-16)
    assert within.tolist() == (np.linalg.norm(wanted, axis=1) <= most).tolist()
    assert 10 < within.sum() < 30
