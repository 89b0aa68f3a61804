"""Where a detector stands, as seen from where the geometry file has it: a rigid body that was moved and turned a little."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NUMBER = r"([+-]\d+\.\d+)"
_WRITTEN = re.compile(rf"x {_NUMBER} y {_NUMBER} z {_NUMBER} mm, about x {_NUMBER} y {_NUMBER} mrad")


@dataclass(frozen=True)
class Displacement:
    """A small move of the whole detector.

    It is turned about the point in which the beam meets the plane at the mean distance D of its panels, (0, 0, D); then it is
    moved.

    Attributes
    ----------
    shift_m
        Along x and y, metres; what CrystFEL calls det_shift.
    along_m
        Along the beam, metres; positive moves it away from the specimen.
    tilt_rad
        Turn about x and about y, radians, right-handed: a turn about x moves what is up (+y) along the beam (+z), one about y
        moves what is at +x against it.

    >>> Displacement().is_none, Displacement((1e-4, 0.0)).is_none
    (True, False)
    """

    shift_m: tuple[float, float] = (0.0, 0.0)
    along_m: float = 0.0
    tilt_rad: tuple[float, float] = (0.0, 0.0)

    @property
    def is_none(self) -> bool:
        """Whether nothing is moved."""
        return self == Displacement()

    def __add__(self, other: Displacement) -> Displacement:
        """Return both, one after the other; right to first order in the angles."""
        return Displacement(
            (self.shift_m[0] + other.shift_m[0], self.shift_m[1] + other.shift_m[1]),
            self.along_m + other.along_m,
            (self.tilt_rad[0] + other.tilt_rad[0], self.tilt_rad[1] + other.tilt_rad[1]),
        )

    def __str__(self) -> str:
        """As it stands in the chunks of a stream.

        >>> print(Displacement((1.2e-4, -3e-5), 0.004, (0.0, 0.0015)))
        x +0.120000 y -0.030000 z +4.000000 mm, about x +0.000000 y +1.500000 mrad
        >>> Displacement.parse(str(Displacement((1.2e-4, -3e-5), 0.004, (0.0, 0.0015))))
        Displacement(shift_m=(0.00012, -3e-05), along_m=0.004, tilt_rad=(0.0, 0.0015))
        """
        x, y, z, about_x, about_y = (1e3 * number for number in (*self.shift_m, self.along_m, *self.tilt_rad))
        return f"x {x:+.6f} y {y:+.6f} z {z:+.6f} mm, about x {about_x:+.6f} y {about_y:+.6f} mrad"

    @staticmethod
    def parse(text: str) -> Displacement | None:
        """Read what :meth:`__str__` has written; None if it is something else."""
        found = _WRITTEN.fullmatch(text.strip())
        if found is None:
            return None
        x, y, z, about_x, about_y = (round(float(number) * 1e-3, 12) for number in found.groups())
        return Displacement((x, y), z, (about_x, about_y))

    @property
    def rotation(self) -> NDArray[np.float64]:
        """The turn as a matrix, float64 (3, 3), exact for any size of the angles: first about x, then about y.

        >>> np.round(Displacement(tilt_rad=(0.01, 0.0)).rotation @ [0.0, 1.0, 0.0], 4)
        array([0.  , 1.  , 0.01])
        """
        x, y = self.tilt_rad
        about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
        about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
        return np.asarray(about_y @ about_x)


NOT_DISPLACED = Displacement()
"""A detector that stands where the geometry file has it."""
