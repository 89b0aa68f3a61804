"""Where a detector stands, as seen from where the geometry file has it: a rigid body that was moved and turned a little."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
