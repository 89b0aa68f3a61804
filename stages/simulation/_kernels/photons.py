"""Kernels of the simulator: which reflections light up where, and how the photons fall.

All random numbers come from splitmix64 (Steele, Lea & Flood 2014, doi:10.1145/2714064.2660195) used as a counter: the i-th
number of a seed is ``mix(seed + i * GOLDEN)``, so that nothing depends on the order in which things are drawn.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.compute.rays import HEIGHT, ORIGIN, WIDTH, place

Array = NDArray[Any]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11, _S32 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11), np.uint64(32)
_LOW32, _LOW16, _S16 = np.uint64(0xFFFFFFFF), np.uint64(0xFFFF), np.uint64(16)
_TO_UNIT = 1.0 / 9007199254740992.0


@kernel
def mix(x: Any) -> Any:
    """Turn a counter (uint64) into 64 random bits."""
    z = (x ^ (x >> _S30)) * _M1
    z = (z ^ (z >> _S27)) * _M2
    return z ^ (z >> _S31)


@kernel
def uniform(x: Any) -> float:
    """Turn a counter (uint64) into a number in (0, 1)."""
    return (np.float64(mix(x) >> _S11) + 0.5) * _TO_UNIT


@kernel
def wilson_intensity(h: Any, k: Any, ll: Any, rotations: Array, translations: Array, seed: Any) -> float:
    """Return the acentric Wilson intensity (mean 1) of a reflection; 0 where it is systematically absent.

    All reflections that the operators and Friedel's law make equivalent share one random number, found by hashing the
    greatest of their indices. `rotations` int64 (n, 3, 3) and `translations` int64 (n, 3) in 24ths: h' = h R, phase
    shift h.t; where h' = h and h.t is no integer the reflection is absent.
    """
    best = np.int64(-1)
    for n in range(rotations.shape[0]):
        a = h * rotations[n, 0, 0] + k * rotations[n, 1, 0] + ll * rotations[n, 2, 0]
        b = h * rotations[n, 0, 1] + k * rotations[n, 1, 1] + ll * rotations[n, 2, 1]
        c = h * rotations[n, 0, 2] + k * rotations[n, 1, 2] + ll * rotations[n, 2, 2]
        if a == h and b == k and c == ll:
            turn = h * translations[n, 0] + k * translations[n, 1] + ll * translations[n, 2]
            if turn % 24 != 0:
                return 0.0
        for sign in (1, -1):
            key = ((sign * a + 1048576) << 42) + ((sign * b + 1048576) << 21) + (sign * c + 1048576)
            best = max(best, key)
    return -math.log(uniform(mix(np.uint64(best)) + seed))


@kernel
def wilson_intensities(hkl: Array, rotations: Array, translations: Array, seed: Any) -> Array:
    """Return :func:`wilson_intensity` of each row of `hkl` (n, 3)."""
    out = np.empty(hkl.shape[0])
    for i in range(hkl.shape[0]):
        out[i] = wilson_intensity(
            np.int64(hkl[i, 0]), np.int64(hkl[i, 1]), np.int64(hkl[i, 2]), rotations, translations, seed
        )
    return out


@kernel
def near_ewald_sphere(reciprocal: Array, k: float, width: float, q_max: float, hkl_out: Array, error_out: Array) -> int:
    """Find the lattice points g with | |g + k0| - k | <= width and 0 < |g| <= q_max; return how many there are.

    For each h, k the line p + l c* cuts the shell between the spheres of radius k - width and k + width in at most two
    short intervals of l, found from the two quadratics |p|^2 + 2 l p.c* + l^2 |c*|^2 = r^2. Results beyond the length of
    the output arrays are counted, not stored. `reciprocal` (3, 3): rows a*, b*, c*; k0 = (0, 0, k).
    """
    as_, bs, cs = reciprocal[0], reciprocal[1], reciprocal[2]
    # |a| = |b* x c*| / V*, and |h| <= |a| |g|; written out, since numba's np.linalg needs scipy
    bc0, bc1, bc2 = bs[1] * cs[2] - bs[2] * cs[1], bs[2] * cs[0] - bs[0] * cs[2], bs[0] * cs[1] - bs[1] * cs[0]
    ca0, ca1, ca2 = cs[1] * as_[2] - cs[2] * as_[1], cs[2] * as_[0] - cs[0] * as_[2], cs[0] * as_[1] - cs[1] * as_[0]
    volume = abs(as_[0] * bc0 + as_[1] * bc1 + as_[2] * bc2)
    h_max = int(q_max * math.sqrt(bc0 * bc0 + bc1 * bc1 + bc2 * bc2) / volume + 1e-9)
    k_max = int(q_max * math.sqrt(ca0 * ca0 + ca1 * ca1 + ca2 * ca2) / volume + 1e-9)
    cc = cs[0] * cs[0] + cs[1] * cs[1] + cs[2] * cs[2]
    found = 0
    for h in range(-h_max, h_max + 1):
        for kk in range(-k_max, k_max + 1):
            px = h * as_[0] + kk * bs[0]
            py = h * as_[1] + kk * bs[1]
            gz = h * as_[2] + kk * bs[2]
            pz = gz + k
            pc = px * cs[0] + py * cs[1] + pz * cs[2]
            pp = px * px + py * py + pz * pz
            outer = pc * pc - cc * (pp - (k + width) ** 2)
            if outer < 0.0:
                continue
            inner = pc * pc - cc * (pp - (k - width) ** 2)
            low, high = (-pc - math.sqrt(outer)) / cc, (-pc + math.sqrt(outer)) / cc
            if inner > 0.0:
                low_end, high_start = (-pc - math.sqrt(inner)) / cc, (-pc + math.sqrt(inner)) / cc
            else:
                low_end = high_start = high + 1.0
            for part in range(2):
                if part == 0:
                    first, last = math.ceil(low), math.floor(min(low_end, high))
                else:
                    first, last = math.ceil(high_start), math.floor(high)
                for ll in range(first, last + 1):
                    x, y, z = px + ll * cs[0], py + ll * cs[1], gz + ll * cs[2]
                    qq = x * x + y * y + z * z
                    if qq > q_max * q_max or (h == 0 and kk == 0 and ll == 0):
                        continue
                    error = math.sqrt(x * x + y * y + (z + k) ** 2) - k
                    if abs(error) > width:
                        continue
                    if found < hkl_out.shape[0]:
                        hkl_out[found, 0], hkl_out[found, 1], hkl_out[found, 2] = h, kk, ll
                        error_out[found] = error
                    found += 1
    return found


@kernel
def meet_panels(direction: Array, panels: Array, panel_out: Array, fs_out: Array, ss_out: Array) -> None:
    """Find on which panel and where each ray from the specimen ends; panel -1 where it meets none.

    `panels` is the table of :mod:`stages.compute.rays`. Where panels overlap the nearest one stops the ray.
    """
    for i in range(direction.shape[0]):
        nearest = np.inf
        panel_out[i] = -1
        dx, dy, dz = direction[i, 0], direction[i, 1], direction[i, 2]
        for p in range(panels.shape[0]):
            own = panels[p]
            t, fs, ss = place(dx, dy, dz, own[ORIGIN], own[ORIGIN + 1], own[ORIGIN + 2], own)
            if 0.0 < t < nearest and 0.0 <= fs < own[WIDTH] and 0.0 <= ss < own[HEIGHT]:
                nearest = t
                panel_out[i], fs_out[i], ss_out[i] = p, fs, ss


class Places(NamedTuple):
    """Where panels lie in a flat data array, in pixels: whole numbers for one panel, or int64 arrays with an entry per spot."""

    width: Any
    height: Any
    start: Any
    fs_stride: Any
    ss_stride: Any


@kernel
def scatter_photons(
    photons: Array, fs: Array, ss: Array, places: Places, sigma_px: float, seed: Any, out: Array
) -> None:
    """Let each spot's photons fall around its centre, normally distributed; those beside the panel are lost.

    All arrays are one entry per spot: `photons` whole numbers, `places` of the spot's panel in the flat data array `out`.
    Polar form of Box and Muller's method.
    """
    width, height, start, fs_stride, ss_stride = places
    counter = seed
    for i in range(photons.size):
        for _ in range(photons[i]):
            counter += GOLDEN
            z = mix(counter)
            radius = sigma_px * math.sqrt(-2.0 * math.log((np.float64(z & _LOW32) + 0.5) / 4294967296.0))
            angle = 2.0 * math.pi * np.float64(z >> _S32) / 4294967296.0
            x = math.floor(fs[i] + radius * math.cos(angle))
            y = math.floor(ss[i] + radius * math.sin(angle))
            if 0 <= x < width[i] and 0 <= y < height[i]:
                out[start[i] + x * fs_stride[i] + y * ss_stride[i]] += 1


@kernel
def background_rate(q: float) -> float:
    """Photons per pixel from water, air and the beam's halo at q (1/Angstrom), before the factor cos^3(2 theta)."""
    return (
        1.0
        + 30.0 * math.exp(-q / 0.035)
        + 9.0 * math.exp(-0.5 * ((q - 0.30) / 0.055) ** 2)
        + 2.5 * math.exp(-0.5 * ((q - 0.12) / 0.05) ** 2)
    )


@kernel
def panel_rates(
    origin: Array, fs_step: Array, ss_step: Array, place: Places, wavelength: float, factor: float, out: Array
) -> None:
    """Write the expected background photons of each pixel of one panel into the flat array `out` (float32)."""
    width, height, start, fs_stride, ss_stride = place
    for j in range(height):
        for i in range(width):
            x = origin[0] + (i + 0.5) * fs_step[0] + (j + 0.5) * ss_step[0]
            y = origin[1] + (i + 0.5) * fs_step[1] + (j + 0.5) * ss_step[1]
            z = origin[2] + (i + 0.5) * fs_step[2] + (j + 0.5) * ss_step[2]
            cos_2theta = z / math.sqrt(x * x + y * y + z * z)
            q = math.sqrt(max(0.0, 2.0 * (1.0 - cos_2theta))) / wavelength
            rate = factor * background_rate(q) * max(0.0, cos_2theta) ** 3
            out[start + i * fs_stride + j * ss_stride] = rate


@kernel
def rate_levels(rates: Array, lowest: float, step: float, out: Array) -> None:
    """Choose for each pixel one of the tabulated rates ``lowest * exp(step * (level - 1))``; level 0 where rate is NaN.

    A rate between two levels is given the upper one as often as keeps the mean right (decided once for each pixel).
    """
    for i in range(rates.size):
        rate = rates[i]
        if math.isnan(rate):
            out[i] = 0
            continue
        position = max(0.0, math.log(max(rate, lowest) / lowest) / step)
        level = math.floor(position)
        below = lowest * math.exp(step * level)
        above = lowest * math.exp(step * (level + 1))
        upper = uniform(np.uint64(i) * GOLDEN) < (max(rate, lowest) - below) / (above - below)
        out[i] = level + 1 + (1 if upper else 0)


@kernel
def poisson_alias_tables(rates: Array, bits: int) -> Array:
    """Make one alias table for the Poisson distribution of each rate: uint64 (levels, 2**bits).

    Walker's alias method in Vose's form (doi:10.1109/32.92917). An entry holds a threshold in its upper 32 bits and two
    outcomes of 16 bits: the one below the threshold, the one above it.
    """
    size = 1 << bits
    scale = 2.0 ** (32 - bits)
    table = np.zeros((rates.size, size), np.uint64)
    weight = np.empty(size)
    small = np.empty(size, np.int64)
    large = np.empty(size, np.int64)
    for level in range(rates.size):
        rate = rates[level]
        first = max(0, int(rate) - size // 2)
        total = 0.0
        for i in range(size):
            n = first + i
            weight[i] = math.exp(n * math.log(rate) - rate - math.lgamma(n + 1.0))
            total += weight[i]
        num_small = num_large = 0
        for i in range(size):
            weight[i] *= size / total
            if weight[i] < 1.0:
                small[num_small] = i
                num_small += 1
            else:
                large[num_large] = i
                num_large += 1
        while num_small > 0 and num_large > 0:
            num_small -= 1
            s, g = small[num_small], large[num_large - 1]
            threshold = np.uint64(weight[s] * scale)
            table[level, s] = (threshold << _S32) | (np.uint64(first + s) << _S16) | np.uint64(first + g)
            weight[g] -= 1.0 - weight[s]
            if weight[g] < 1.0:
                num_large -= 1
                small[num_small] = g
                num_small += 1
        while num_large > 0:
            num_large -= 1
            g = large[num_large]
            table[level, g] = (np.uint64(first + g) << _S16) | np.uint64(first + g)
        while num_small > 0:
            num_small -= 1
            s = small[num_small]
            table[level, s] = (np.uint64(first + s) << _S16) | np.uint64(first + s)
    return table


@kernel
def draw_background(levels: Array, table: Array, bits: int, gap: int, seed: Any, out: Array) -> None:
    """Draw each pixel's background photons (int32); pixels of level 0 lie in no panel and become `gap`.

    64 random bits serve two pixels: of the 32 each, the upper `bits` choose the entry of its rate's alias table, the
    rest decides between the entry's two outcomes.
    """
    shift = np.uint64(32 - bits)
    rest = (np.uint64(1) << shift) - np.uint64(1)
    for pair in range((out.size + 1) // 2):
        z = mix(seed + np.uint64(pair) * GOLDEN)
        for half in range(2):
            i = 2 * pair + half
            if i < out.size:
                level = levels[i]
                if level == 0:
                    out[i] = gap
                else:
                    r = z & _LOW32
                    entry = table[level - 1, r >> shift]
                    below = (r & rest) < (entry >> _S32)
                    out[i] = ((entry >> _S16) & _LOW16) if below else (entry & _LOW16)
            z >>= _S32
