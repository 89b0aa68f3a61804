"""From peaks to scattering vectors."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel

Floats = NDArray[np.float64]
Integers = NDArray[np.int32]


@kernel
def scattering_vectors(
    panel: Integers,
    fs: Floats,
    ss: Floats,
    origin_m: Floats,
    fs_m: Floats,
    ss_m: Floats,
    wavelength: float,
    most: float,
    q: Floats,
    within: NDArray[np.bool_],
) -> int:
    """Fill `q` (n, 3) with the scattering vectors of peaks, (u - z) / wavelength for the ray u of each, the beam being along z.

    `within` (n,) tells which are not longer than `most`; what is not finite is not, either. Return how many are. Panels have
    (P, 3) corners and pixel steps; see :class:`stages.records.geometry.DetGeom`.
    """
    n = 0
    for i in range(fs.size):
        p = panel[i]
        x = origin_m[p, 0] + fs[i] * fs_m[p, 0] + ss[i] * ss_m[p, 0]
        y = origin_m[p, 1] + fs[i] * fs_m[p, 1] + ss[i] * ss_m[p, 1]
        z = origin_m[p, 2] + fs[i] * fs_m[p, 2] + ss[i] * ss_m[p, 2]
        length = np.sqrt(x * x + y * y + z * z)
        q[i, 0], q[i, 1], q[i, 2] = x / length / wavelength, y / length / wavelength, (z / length - 1.0) / wavelength
        within[i] = np.sqrt(q[i, 0] ** 2 + q[i, 1] ** 2 + q[i, 2] ** 2) <= most
        n += within[i]
    return n
