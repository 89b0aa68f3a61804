"""How the charge of a photon spreads over pixels."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.simulation._kernels.photons import GOLDEN, Places, mix

Array = NDArray[Any]

PARTS = 16
"""A photon's place within its pixel is known to a part of so many, along each side."""
ONE_BY_ONE = 64
"""Of a pixel's photons so many are placed one by one; the charge of the others is spread as theirs is on average."""
REACH_SIGMA = 4.0
"""What lies further from the photon than this is left out, and the rest made up to one photon."""


@kernel
def shares(sigma_px: float) -> Array:
    """Return which part of a photon's charge falls on its own and the next rows, for each place within the pixel.

    float64 (PARTS, 2 R + 1), rows sum to 1: the integrals of a Gaussian over the pixels d = -R ... R. By columns it is the
    same, and a pixel gets the product of the two.
    """
    reach = math.ceil(REACH_SIGMA * sigma_px)
    table = np.empty((PARTS, 2 * reach + 1))
    for part in range(PARTS):
        place = (part + 0.5) / PARTS
        total = 0.0
        for d in range(-reach, reach + 1):
            high = math.erf((d + 1 - place) / (math.sqrt(2.0) * sigma_px))
            table[part, d + reach] = 0.5 * (high - math.erf((d - place) / (math.sqrt(2.0) * sigma_px)))
            total += table[part, d + reach]
        table[part] /= total
    return table


@kernel
def deposit(where: tuple[int, int], by_row: Array, by_column: Array, photons: float, place: Places, out: Array) -> None:
    """Add the charge of photons that fell on a pixel (fs, ss); what falls beside the panel is lost."""
    reach = by_row.size // 2
    for dy in range(max(-reach, -where[1]), min(reach, place.height - 1 - where[1]) + 1):
        first = place.start + (where[1] + dy) * place.ss_stride + where[0] * place.fs_stride
        for dx in range(max(-reach, -where[0]), min(reach, place.width - 1 - where[0]) + 1):
            out[first + dx * place.fs_stride] += photons * by_row[dy + reach] * by_column[dx + reach]


@kernel
def spread(photons: Array, place: Places, table: Array, seed: Any, out: Array) -> None:
    """Add up the charge of one panel's photons, in photons, in the flat array `out` (float32).

    Each photon falls anywhere in its pixel with the same probability. `table` is that of :func:`shares`.
    """
    mean = np.zeros(table.shape[1])
    for part in range(PARTS):
        mean += table[part] / PARTS
    low = np.uint64(PARTS - 1)
    for ss in range(place.height):
        for fs in range(place.width):
            at = place.start + ss * place.ss_stride + fs * place.fs_stride
            counter = mix(seed + np.uint64(at) * GOLDEN)
            for _ in range(min(photons[at], ONE_BY_ONE)):
                counter += GOLDEN
                z = mix(counter)
                deposit(
                    (fs, ss), table[np.int64(z & low)], table[np.int64((z >> np.uint64(32)) & low)], 1.0, place, out
                )
            if photons[at] > ONE_BY_ONE:
                deposit((fs, ss), mean, mean, float(photons[at] - ONE_BY_ONE), place, out)
