"""The parameters that integrating stages share, declared once."""

from __future__ import annotations

import math

from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from stages.integrate._diagnose import Condition
from stages.integrate._prediction import PredictionOptions
from stages.prediction.predict import REACH

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=STRICT)
class PredictionParameters:
    """What decides which reflections are predicted."""

    push_res: float = Field(
        default=math.inf, description="Predict so many nm^-1 beyond each crystal's resolution limit; may be negative."
    )
    fix_profile_radius: float | None = Field(
        default=None, gt=0, description="Profile radius in m^-1 for all crystals, instead of one estimated for each."
    )
    fix_divergence: float | None = Field(
        default=None, ge=0, description="Full angle of the beam's divergence in radians; nil if not given."
    )
    overpredict: bool = Field(default=False, description="Predict with five times the profile radius.")
    reach: float = Field(
        default=REACH,
        gt=0,
        le=10,
        description="Predict reflections up to so many profile radii off the Ewald sphere: 1.7 as CrystFEL does; 3 to have "
        "nearly every spot that can be seen.",
    )
    cell_parameters_only: bool = Field(default=False, description="Do not predict or integrate at all.")

    @property
    def options(self) -> PredictionOptions:
        """The parameters that concern prediction."""
        return PredictionOptions(
            self.push_res, self.fix_profile_radius, self.fix_divergence, self.overpredict, self.reach
        )


@dataclass(frozen=True, config=STRICT)
class IntegrationParameters(PredictionParameters):
    """What decides how pixels become intensities."""

    int_radius: tuple[float, float, float] = Field(
        default=(4.0, 5.0, 7.0), description="Inner, middle and outer radius in pixels; cut down to whole pixels."
    )
    cen: bool = Field(
        default=False,
        description="Move each circle to where its intensity has its centre, within the inner radius, if the sum exceeds five "
        "of its standard deviations (rings-cen).",
    )
    sat: bool = Field(default=False, description="Keep reflections with pixels above max_adu.")
    correct_tails: bool = Field(
        default=True, description="Divide intensities by the part of a spot that lies in the circle, f."
    )
    int_diag: str = Field(
        default="none",
        description="Show how reflections were integrated: none, all, random (1 %), strong (I > 3 sigma), negative "
        "(I < -3 sigma), implausible (I < -5 sigma), or indices such as 3,-4,5; live/int_diag reports them.",
    )
    int_diag_most: int = Field(default=20, ge=1, description="Show so many at most (each replica).")

    @property
    def has_sloping_background(self) -> bool:
        """Whether the background is a plane fitted to the ring, or else the ring's mean."""
        return True

    @field_validator("int_radius")
    @classmethod
    def _radii_grow(cls, radii: tuple[float, float, float]) -> tuple[float, float, float]:
        if not (1 <= radii[0] <= radii[1] < radii[2] < 1000):
            raise ValueError(f"radii should be 1 or more and grow: inner <= middle < outer; found {radii}")
        return radii

    @field_validator("int_diag")
    @classmethod
    def _is_a_condition(cls, text: str) -> str:
        Condition.parse(text)
        return text
