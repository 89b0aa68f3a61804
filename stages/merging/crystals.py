"""What merging needs of one crystal: its reflections by their symmetry equivalents, and its cell."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline import UserError
from stages.merging._kernels import equivalents as kernel
from stages.merging.point_group import PointGroup
from stages.records.geometry import HC_EV_ANGSTROM


@dataclass(frozen=True)
class Polarisation:
    """How the beam is polarised, as ``--polarisation`` says it to CrystFEL.

    Attributes
    ----------
    fraction
        Part of the beam that is polarised along `direction`, the rest is polarised across it; negative: no correction.
    direction
        Unit vector in the laboratory's x, y plane.
    """

    fraction: float = 1.0
    direction: tuple[float, float] = (1.0, 0.0)

    @staticmethod
    def parse(text: str) -> Polarisation:
        """Read ``horiz``, ``vert``, ``none``, or an angle and percentage such as ``45deg90`` or ``horiz95``.

        >>> Polarisation.parse("vert90").fraction, Polarisation.parse("none").fraction
        (0.9, -1.0)
        """
        if text == "none":
            return Polarisation(-1.0)
        found = re.fullmatch(r"(horiz|vert|[-+]?[0-9.]+deg)([0-9.]*)", text)
        try:
            words = found.groups() if found else ("", "")
            angle = {"horiz": 0.0, "vert": 90.0}.get(words[0])
            degrees = float(words[0].removesuffix("deg")) if angle is None else angle
            percent = float(words[1]) if words[1] else 100.0
        except ValueError:
            percent, degrees = -1.0, 0.0
        if not 0 <= percent <= 100:
            raise UserError(
                f"the polarisation {text!r} is not understood: give horiz, vert, none, or an angle from horizontal and a "
                "percentage, such as 45deg90"
            )
        x, y = (math.cos(math.radians(degrees)), math.sin(math.radians(degrees))) if angle != 90.0 else (0.0, 1.0)
        return Polarisation(percent / 100.0, (x, y))


@dataclass(frozen=True, eq=False)
class Observed:
    """The intensities of one crystal; small enough to be sent anywhere.

    Attributes
    ----------
    keys
        int64 (n,), which reflection of the asymmetric unit.
    intensity
        float64 (n,), corrected for polarisation.
    error
        float64 (n,), excitation error in 1/Angstrom; NaN where the wavelength is not known.
    metric
        float64 (3, 3), a* . b* in 1/Angstrom^2.
    num_left_out
        Reflections whose intensity or indices are no use.
    has_signal
        Whether any intensity differs from 0.
    frame
        Number of the frame that it is of, for those who ask for `blocks` of frames.
    group
        Which group of frames it is of, for those who merge each by itself.
    """

    keys: NDArray[np.int64]
    intensity: NDArray[np.float64]
    error: NDArray[np.float64]
    metric: NDArray[np.float64]
    centring: str = "P"
    num_left_out: int = 0
    has_signal: bool = True
    frame: int = 0
    group: str = ""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def inverse_d_squared(self) -> NDArray[np.float64]:
        """float64 (n,), 1/d^2 in 1/Angstrom^2."""
        hkl = unpack(self.keys).astype(np.float64)
        return np.asarray(np.einsum("ni,ij,nj->n", hkl, self.metric, hkl))


def observe_in(
    settings: NDArray[np.int64],
    hkl: NDArray[np.int32],
    intensity: NDArray[np.float64],
    reciprocal_per_angstrom: NDArray[np.float64],
    photon_energy_ev: float,
    group: PointGroup,
    polarisation: Polarisation,
    centring: str = "P",
) -> tuple[Observed, ...]:
    """Return the same crystal in each of some settings, int64 (s, 3, 3): reflections are ``hkl @ setting`` there."""
    return tuple(
        observe(
            np.ascontiguousarray(hkl @ setting, np.int32),
            intensity,
            np.linalg.inv(setting) @ reciprocal_per_angstrom,
            photon_energy_ev,
            group,
            polarisation,
            centring,
        )
        for setting in settings
    )


def observe(
    hkl: NDArray[np.int32],
    intensity: NDArray[np.float64],
    reciprocal_per_angstrom: NDArray[np.float64],
    photon_energy_ev: float,
    group: PointGroup,
    polarisation: Polarisation,
    centring: str = "P",
) -> Observed:
    """Find each reflection's place in the asymmetric unit and correct it for the beam's polarisation."""
    keys = np.empty(len(hkl), np.int64)
    corrected, error = np.empty((2, len(hkl)))
    star = np.ascontiguousarray(reciprocal_per_angstrom, np.float64)
    usable = bool(np.isfinite(star).all()) and abs(float(np.linalg.det(star))) > 0.0
    fraction = polarisation.fraction
    known = math.isfinite(photon_energy_ev) and photon_energy_ev > 0
    if fraction >= 0 and not known:
        usable = False
    kept, has_signal = 0, False
    if usable:
        kept, has_signal = kernel.observe(
            np.ascontiguousarray(hkl, np.int32),
            np.ascontiguousarray(intensity, np.float64),
            star,
            HC_EV_ANGSTROM / photon_energy_ev if known else math.nan,
            group.operations,
            float(fraction),
            np.array(polarisation.direction, np.float64),
            keys,
            corrected,
            error,
        )
    return Observed(
        keys[:kept].copy(),
        corrected[:kept].copy(),
        error[:kept].copy(),
        star @ star.T,
        centring,
        len(hkl) - kept,
        bool(has_signal),
    )


def pack(hkl: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the keys of indices, int32 (n, 3).

    >>> unpack(pack(np.array([[3, -1, 20]], np.int32))).tolist()
    [[3, -1, 20]]
    """
    h, k, ll = (hkl.astype(np.int64) + kernel.OFFSET).T
    return np.asarray((h << (2 * kernel.BITS)) | (k << kernel.BITS) | ll)


def unpack(keys: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the indices of keys, int32 (n, 3)."""
    mask = (1 << kernel.BITS) - 1
    columns = (keys >> (2 * kernel.BITS), (keys >> kernel.BITS) & mask, keys & mask)
    return np.stack([column - kernel.OFFSET for column in columns], axis=1).astype(np.int32)
