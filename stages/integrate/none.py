"""integrate/none: no reflections; only what else a stream says of a crystal."""

from __future__ import annotations

from pydantic import Field

from pipeline import Context, stage
from stages.integrate._prediction import PredictionOptions, Predictor
from stages.prediction.predict import warm_up
from stages.records.changed import changed
from stages.records.crystal import Crystals
from stages.records.geometry import DetGeom
from stages.records.peaklist import PeakList


@stage("integrate/none")
class NoIntegration:
    """Settle each crystal's profile radius and resolution limit, and predict nothing: what --cell-parameters-only asks for.

    Both are estimated as in ``integrate/rings``. The stream says "No integrated reflections." for such crystals.
    """

    fix_profile_radius: float | None = Field(
        default=None, gt=0, description="Profile radius in m^-1 for all crystals, instead of one estimated for each."
    )

    def open(self, context: Context) -> RunningNoIntegration:
        """Compile the kernels."""
        warm_up()
        return RunningNoIntegration(self)


class RunningNoIntegration:
    """The stage at work in one replica."""

    def __init__(self, stage: NoIntegration) -> None:
        self._predictor = Predictor(PredictionOptions(fix_profile_radius=stage.fix_profile_radius))

    def __call__(self, crystals: Crystals, geom: DetGeom, peaks: PeakList) -> Crystals:
        """Return the crystals with their profile radius, without reflections."""
        if not crystals.found:
            return crystals
        finder = self._predictor.finder(geom)
        return changed(
            crystals, found=tuple(self._predictor.with_limit(crystal, peaks, finder) for crystal in crystals)
        )
