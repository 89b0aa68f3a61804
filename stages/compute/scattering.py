"""From points on a detector to scattering vectors q = (u - z) / wavelength, u the ray to the point and z the beam.

Panels have corners and pixel steps in metres, (P, 3) each, in the laboratory frame, whose origin is the specimen; see
:class:`stages.records.geometry.DetGeom`. Written out because numpy takes ten times as long for as few points as a frame has.
"""

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel

Floats = NDArray[np.float64]
Integers = NDArray[np.int32]


@kernel
def scattering_vectors(
    panel: Integers, fs: Floats, ss: Floats, origin_m: Floats, fs_m: Floats, ss_m: Floats, wavelength: float, q: Floats
) -> bool:
    """Fill `q` (n, 3) with the scattering vectors of points, in units of 1 / `wavelength`; False if there is no such panel."""
    for i in range(fs.size):
        p = panel[i]
        if p < 0 or p >= origin_m.shape[0]:
            return False
        x = origin_m[p, 0] + fs[i] * fs_m[p, 0] + ss[i] * ss_m[p, 0]
        y = origin_m[p, 1] + fs[i] * fs_m[p, 1] + ss[i] * ss_m[p, 1]
        z = origin_m[p, 2] + fs[i] * fs_m[p, 2] + ss[i] * ss_m[p, 2]
        length = np.sqrt(x * x + y * y + z * z)
        q[i, 0] = x / length / wavelength
        q[i, 1] = y / length / wavelength
        q[i, 2] = (z / length - 1.0) / wavelength
    return True


@kernel
def lengths(q: Floats, out: Floats) -> None:
    """Fill `out` (n,) with the lengths of vectors (n, 3)."""
    for i in range(out.size):
        out[i] = np.sqrt(q[i, 0] * q[i, 0] + q[i, 1] * q[i, 1] + q[i, 2] * q[i, 2])
