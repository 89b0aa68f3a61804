"""integrate/predict_only: predicted reflections without intensities, for frames without pixels."""

from __future__ import annotations

import numpy as np
from pydantic.dataclasses import dataclass

from pipeline import Context, stage
from stages.integrate._kernels.good import on_good_pixels
from stages.integrate._parameters import STRICT, PredictionParameters
from stages.integrate._prediction import Predictor, without_reflections
from stages.pixels.tables import PackedMask, packed_starts
from stages.prediction.predict import warm_up
from stages.records.changed import changed
from stages.records.crystal import Crystal, Crystals, Reflections
from stages.records.geometry import DetGeom, Panel
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
        running = RunningPredictOnly(self)
        running.warm_up()
        return running


class RunningPredictOnly:
    """The prediction of one replica."""

    def __init__(self, stage: PredictOnly) -> None:
        self._stage = stage
        self._predictor = Predictor(stage.options)
        self._good = _GoodPixels()

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
            found.append(changed(known, reflections=self._good.of(self._predictor.predict(known, finder), geom)))
        return changed(crystals, found=tuple(found))

    def warm_up(self) -> None:
        """Compile what looks for good pixels."""
        one, bad = np.eye(3), np.zeros((32, 32), np.uint8)
        corner = np.array([[-0.016, -0.016, 0.1]])
        geom = DetGeom(
            (Panel("p", max_fs=31, max_ss=31),), corner, one[:1] * 1e-3, one[1:2] * 1e-3, 1e4, np.ones(1), (bad,)
        )
        self(Crystals((Crystal(one * 50.0),)), geom, PeakList.make([0], [3.0], [3.0], [1.0]))


class _GoodPixels:
    """Leaves out reflections on bad pixels; knows where each panel stands in the mask of the latest geometry."""

    def __init__(self) -> None:
        self._pack_mask = PackedMask()
        self._panels: tuple[Panel, ...] | None = None
        self._starts = self._widths = np.zeros(0, np.int64)

    def of(self, predicted: Reflections, geom: DetGeom) -> Reflections:
        """Return those of the reflections that lie on good pixels."""
        bad = self._pack_mask(geom)
        if self._panels is not geom.panels:
            self._starts = packed_starts(geom.panels)
            self._widths = np.array([panel.width for panel in geom.panels], np.int64)
            self._panels = geom.panels
        if len(bad) != self._starts[-1]:
            raise ValueError(f"the masks should have {self._starts[-1]} pixels as the panels do, and have {len(bad)}")
        good = np.empty(len(predicted), np.bool_)
        num_good = on_good_pixels(bad, self._starts, self._widths, predicted.panel, predicted.fs, predicted.ss, good)
        return predicted if num_good == len(good) else predicted.select(good)
