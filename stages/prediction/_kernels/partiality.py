"""How much of a reflection the beam records: CrystFEL's xsphere model (White et al. 2016, doi:10.1107/S1600576716004751)."""

import math
from typing import NamedTuple

from stages.compute.kernel import kernel


class Beam(NamedTuple):
    """The incident beam: k = 1 / wavelength (1/Angstrom), standard deviation of dk / k, full angle of divergence (radians)."""

    k: float
    bandwidth: float
    divergence: float


SIGMA_OF_DISC = 0.25
"""Standard deviation, along one axis, of a uniform disc whose diameter is 1: half its radius."""

MARGIN = 1.000001
"""The bound on excitation errors is widened by this factor, so that no rounding excludes what is tested exactly later."""


@kernel
def partiality_of(x: float, y: float, z: float, radius: float, beam: Beam) -> tuple[float, float, float]:
    """Return (partiality, excitation error, wave number by which the reflection at g = (x, y, z) is mostly recorded).

    With d = (0, 0, k) + g the excitation error is e = k - |d|. The reflection is a Gaussian of width R (the profile
    radius) along d, the Ewald sphere one of width s: the bandwidth moves the sphere by (1 - cos 2theta) k dk/k, and the
    divergence by |g_xy| times the standard deviation of a uniform disc of that full angle, divergence / 4. Their overlap,

        p = exp(-e^2 / 2 (R^2 + s^2)) sqrt((R^2 + s_90^2) / (R^2 + s^2)),

    is 1 for e = 0 at 2theta = 90 degrees, where s = s_90. The wave number is that of the sphere through the overlap's
    maximum, which lies on the way from the nearest point of the sphere to g, s_k^2 / (R^2 + s_k^2) of it (s_k: that part of
    the width which the bandwidth makes).
    """
    k, bandwidth, divergence = beam.k, beam.bandwidth, beam.divergence
    dz = z + k
    length = math.sqrt(x * x + y * y + dz * dz)
    error = k - length
    spread_k = bandwidth * k
    from_divergence = SIGMA_OF_DISC * divergence * math.sqrt(x * x + y * y) if divergence > 0.0 else 0.0
    if spread_k == 0.0:
        return math.exp(-0.5 * error * error / (radius * radius + from_divergence * from_divergence)), error, k
    to_sphere = k / length
    px, py, pz = x * to_sphere, y * to_sphere, dz * to_sphere - k
    from_k = (1.0 - dz / length) * spread_k
    variance = radius * radius + from_k * from_k + from_divergence * from_divergence
    largest = radius * radius + spread_k * spread_k + from_divergence * from_divergence
    partiality = math.exp(-0.5 * error * error / variance) * math.sqrt(largest / variance)
    share = from_k * from_k / (radius * radius + from_k * from_k)
    ox, oy = px + share * (x - px), py + share * (y - py)
    oz = pz + share * (min(z, 0.0) - pz)
    k_recorded = -(ox * ox + oy * oy + oz * oz) / (2.0 * oz) if oz < 0.0 and share > 0.0 else k
    return partiality, error, k_recorded


@kernel
def widest_error(radius: float, min_partiality: float, q: float, beam: Beam) -> float:
    """Return the largest |excitation error| that a reflection with |g| up to `q` can have with at least this partiality.

    It solves the partiality's formula for e, with the largest width s that there can be up to `q` in the exponent (sin^2 theta
    = (q / 2 k)^2, so that 1 - cos 2theta = q^2 / 2 k^2) and the largest factor before it.
    """
    k, spread_k = beam.k, beam.bandwidth * beam.k
    from_divergence = SIGMA_OF_DISC * beam.divergence * q
    widest = radius * radius
    widest += (0.5 * q * q / (k * k) * spread_k) ** 2 + from_divergence**2
    brightest = (radius * radius + spread_k * spread_k + from_divergence**2) / (radius * radius)
    return math.sqrt(max(0.0, 2.0 * widest * (0.5 * math.log(brightest) - math.log(min_partiality)))) * MARGIN
