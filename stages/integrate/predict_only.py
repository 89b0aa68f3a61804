"""integrate/predict_only: predicted reflections without intensities, for frames without pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic.dataclasses import dataclass

from pipeline import Context, stage
from stages.integrate._parameters import STRICT, PredictionParameters
from stages.integrate._prediction import Predictor, without_reflections
from stages.prediction.predict import warm_up
from stages.records.crystal import Crystal, Crystals, Reflections
from stages.records.geometry import DetGeom
from stages.records.peaklist import PeakList


@stage("integrate/predict_only")
@dataclass(frozen=True, config=STRICT)
class PredictOnly(PredictionParameters):
    """Predict the reflections of each crystal and leave their intensities zero, as --no-image-data asks.

    Prediction, profile radius and resolution limit are those of ``integrate/rings``. Intensity, sigma, peak and background are
    0; reflections on pixels that are known to be bad are left out.
    """

    def open(self, context: Context) -> RunningPredictOnly:
        """Compile the kernels."""
        warm_up()
        return RunningPredictOnly(self)


class RunningPredictOnly:
    """The prediction of one replica."""

    def __init__(self, stage: PredictOnly) -> None:
        self._stage = stage
        self._predictor = Predictor(stage.options)

    def __call__(self, crystals: Crystals, geom: DetGeom, peaks: PeakList) -> Crystals:
        """Return the crystals with their predicted reflections."""
        if not crystals.found:
            return crystals
        if self._stage.cell_parameters_only:
            return without_reflections(crystals, self._predictor, geom, peaks)
        finder = self._predictor.finder(geom)
        found = []
        for crystal in crystals:
            known: Crystal = self._predictor.with_limit(crystal, peaks, finder)
            found.append(replace(known, reflections=_on_good_pixels(self._predictor.predict(known, finder), geom)))
        return replace(crystals, found=tuple(found))


def _on_good_pixels(predicted: Reflections, geom: DetGeom) -> Reflections:
    good = np.ones(len(predicted), np.bool_)
    x, y = predicted.fs.astype(np.int64), predicted.ss.astype(np.int64)
    for panel in np.unique(predicted.panel):
        here = np.flatnonzero(predicted.panel == panel)
        good[here] = geom.bad[panel][y[here], x[here]] == 0
    return predicted if good.all() else predicted.select(good)
