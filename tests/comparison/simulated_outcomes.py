"""Frames that several ways have seen, with a known difference between the ways.

Frames are correlated: hits come in runs, and how strong the crystals are drifts slowly. The ways are, too: they look at the
same frame, so that what one of them finds, the others mostly find as well.
"""

import numpy as np
from numpy.typing import NDArray

from stages.comparison.table import MEASURES, PLACE, FrameTable

Floats = NDArray[np.float64]

HIT_RATE = 0.6
_RUN_OF_HITS = 20
_PERIODS = np.array([130.0, 310.0, 770.0, 1900.0])
_OWN_LUCK = 0.25
"""The part of a frame's luck that each way has for itself; makes two equal ways differ in some 12 % of frames."""


def strength(num_frames: int, rng: np.random.Generator) -> Floats:
    """float64 (n,), 0 for a blank, else how likely the frame is indexed: it drifts about 0.75."""
    changes = rng.random(num_frames) < 1 / _RUN_OF_HITS
    stretch = np.cumsum(changes)
    hit = (rng.random(stretch[-1] + 1) < HIT_RATE)[stretch]
    waves = 2 * np.pi * (np.arange(num_frames)[:, None] / _PERIODS + rng.random(len(_PERIODS)))
    drift = np.cos(waves).sum(axis=1)
    return np.where(hit, 0.5 + 0.5 / (1 + np.exp(-drift)), 0.0)


MEAN_STRENGTH = 0.75 * HIT_RATE


def rates(num_frames: int, losses: list[float], rng: np.random.Generator) -> Floats:
    """float64 (n, v) of 0 and 1: each way indexes a part `loss` fewer of the frames than the first of all ways could.

    The rates of two ways differ by `MEAN_STRENGTH` times the difference of their losses.
    """
    ways = len(losses)
    luck = np.repeat(rng.random((num_frames, 1)), ways, axis=1)
    own = rng.random((num_frames, ways))
    luck = np.where(rng.random((num_frames, ways)) < _OWN_LUCK, own, luck)
    return (luck < strength(num_frames, rng)[:, None] * (1 - np.array(losses))).astype(np.float64)


def times(num_frames: int, factors: list[float], rng: np.random.Generator, stalls: float = 0.002) -> Floats:
    """float64 (n, v), ms: long for frames with a hit, and now and then the machine stalls in one of the ways."""
    common = 8 * np.exp(0.5 * strength(num_frames, rng) + 0.2 * rng.standard_normal(num_frames))
    own = np.exp(0.1 * rng.standard_normal((num_frames, len(factors))))
    late = rng.random(own.shape) < stalls
    return common[:, None] * own * np.array(factors) + np.where(late, 50 * (1 + rng.pareto(2.5, own.shape)), 0.0)


def crystals(num_frames: int, more: list[float], rng: np.random.Generator) -> Floats:
    """float64 (n, v): counts that are mostly the same; each way finds a second crystal in so many frames more."""
    seen = (rng.random(num_frames) < strength(num_frames, rng)).astype(np.float64)
    return seen[:, None] + (rng.random((num_frames, len(more))) < 0.02 + np.array(more))


def table_of(variants: tuple[str, ...], **columns: Floats) -> FrameTable:
    """The frames as a table, other measures being empty."""
    table = FrameTable(variants)
    v = len(variants)
    for n in range(len(next(iter(columns.values())))):
        values = np.full((len(MEASURES), v), np.nan)
        for name, column in columns.items():
            values[PLACE[name]] = column[n]
        table.append(n, f"// {n}", values, np.full(v * (v - 1) // 2, np.nan))
    return table
