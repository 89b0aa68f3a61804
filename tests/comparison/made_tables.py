"""Tables of frames whose numbers are drawn, for what shows a verdict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.comparison.table import MEASURES, PLACE, FrameTable

HOSTILE = "</td></table></style><script>alert(1)</script>\"'&\n$x_1$\u202e\x1b[2J" + "\u4e2d" * 3
"""What a sender may call a frame, and a user a variant."""


def drawn_table(
    variants: Sequence[str],
    rates: Sequence[float],
    ms: Sequence[float],
    num_frames: int,
    seed: int,
    event: str = "run 7 //{}",
) -> FrameTable:
    """Frames of which each variant indexes those that are strong enough for it."""
    chance = np.random.default_rng(seed)
    v = len(variants)
    table = FrameTable(tuple(variants))
    for n in range(num_frames):
        row = np.full((len(MEASURES), v), np.nan)
        indexed = (chance.random() + 0.1 * chance.normal(size=v)) < np.array(rates)
        row[PLACE["hits"]] = 1.0
        row[PLACE["rejected"]] = 0.0
        row[PLACE["indexed"]] = row[PLACE["crystals"]] = indexed
        row[PLACE["peaks"]] = chance.poisson(50, v)
        row[PLACE["explained"], indexed] = np.clip(0.8 + 0.1 * chance.normal(size=indexed.sum()), 0.0, 1.0)
        row[PLACE["ms"]] = np.array(ms) * np.exp(0.2 * chance.normal() + 0.1 * chance.normal(size=v))
        one, other = np.triu_indices(v, 1)
        angle = np.exp(-6.0 + 0.5 * chance.normal(size=len(one)))
        angle = np.where(chance.random(len(one)) < 0.1, 0.5, angle)
        table.append(n, event.format(n), row, np.where(indexed[one] & indexed[other], angle, np.nan))
    return table


def clear_table(seed: int = 5) -> FrameTable:
    """The second of three variants is the best, and slow."""
    return drawn_table(("zaef", "peakfinder8", "listed"), (0.4, 0.6, 0.42), (4.0, 9.0, 1.0), 600, seed)


def open_table(seed: int = 6) -> FrameTable:
    """Two variants that are not known to differ."""
    return drawn_table(("zaef", "peakfinder8"), (0.5, 0.5), (4.0, 4.0), 60, seed)


def equal_table(num_frames: int = 300) -> FrameTable:
    """Two variants that gave the same on every frame."""
    one = drawn_table(("left",), (0.5,), (4.0,), num_frames, seed=3)
    table = FrameTable(("left", "right"))
    for n in range(num_frames):
        row = np.stack([one.column(name)[n] for name in MEASURES])
        table.append(n, one.event[n], np.repeat(row, 2, axis=1), np.where(row[PLACE["indexed"]] == 1.0, 0.0, np.nan))
    return table
