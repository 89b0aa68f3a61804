"""Differences in what has no number for each frame, as CC1/2 of merged crystals.

Frames are dealt into K blocks, the same for all variants (`block_of`), and the figure is computed K + 1 times for each
variant: from all blocks, and from all but one of them. With t that from all and t_k that without block k,

    t'_k = t + (K - 1) (mean(t_k) - t_k)

vary as K independent values of which t is the mean (the jackknife of Quenouille and Tukey; Miller, 1974,
doi:10.1093/biomet/61.1.1). So they are compared as if each block were a frame. As variants have the same blocks, what makes
one block better than another drops out. The jackknife's usual correction by 1/K is left out: CC1/2 rises with the number of
crystals, and what is asked about are these crystals, not infinitely many.

It costs what merging twice costs where the sums of a merge can be added up (a block's sums are taken from those of all),
and K mergers for each variant where they cannot.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stages.comparison.paired import CONFIDENCE, Difference, compare
from stages.comparison.table import Measure

Floats = NDArray[np.float64]

NUM_BLOCKS = 16
"""Enough for p = 3e-5 if all blocks agree, which is below 5 % for all pairs of six variants; the error is known to a
fifth."""

CC_HALF = Measure("cc_half", "CC1/2 of merged intensities", is_rate=False, better=1)


def block_of(serial: int) -> int:
    """The block of a frame, by its serial number: neighbours in time are in different ones."""
    return serial % NUM_BLOCKS


def pseudo_values(whole: Floats, without: Floats) -> Floats:
    """float64 (K, v): what each block says.

    Parameters
    ----------
    whole
        float64 (v,): the figure of each variant from all frames.
    without
        float64 (K, v): the same without the frames of one block.

    If the figure is a mean, they are the means of the blocks:

    >>> blocks = np.array([[1.0], [2.0], [6.0]])
    >>> pseudo_values(blocks.mean(axis=0), (blocks.sum(axis=0) - blocks) / 2).ravel()
    array([1., 2., 6.])
    """
    k = len(without)
    return np.asarray(whole + (k - 1) * (without.mean(axis=0) - without))


def compare_blocks(
    variants: tuple[str, ...],
    whole: Floats,
    without: Floats,
    frames: int,
    *,
    measure: Measure = CC_HALF,
    size: float | None = None,
    confidence: float = CONFIDENCE,
) -> list[Difference]:
    """Compare all pairs of variants in a figure that is made of many frames.

    Parameters
    ----------
    whole, without
        float64 (v,) and (K, v), as `pseudo_values` takes them; NaN where a variant has no such figure.
    frames
        From which all blocks are made together.

    These differences hold for a run whose length does not depend on them.
    """
    found = compare(measure, variants, pseudo_values(whole, without), size=size, confidence=confidence)
    blocks = len(without)
    return [
        replace(
            d,
            frames=frames if d.frames == blocks else 0,
            frames_needed=None if d.frames_needed is None else d.frames_needed * frames // blocks,
            outcome=d.outcome if d.frames == blocks else "undecided",
        )
        for d in found
    ]
