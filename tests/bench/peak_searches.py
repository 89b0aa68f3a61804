"""The peak searches that are timed, with parameters as for the frames of conftest.py."""

from __future__ import annotations

from stages.peaks.likelihood import Likelihood
from stages.peaks.peakfinder8 import Peakfinder8
from stages.peaks.peakfinder9 import Peakfinder9
from stages.peaks.zaef import Zaef

PEAKFINDER8 = {"threshold": 15.0, "max_pix_count": 20, "min_res": 30, "max_res": 1200}
SEARCHES = {
    "peakfinder8": Peakfinder8(**PEAKFINDER8),
    "peakfinder8_fast": Peakfinder8(**PEAKFINDER8, fast=True),
    "peakfinder9": Peakfinder9(),
    "peakfinder9_photons": Peakfinder9(min_sig=1.0),
    "zaef": Zaef(threshold=25.0, min_sq_gradient=300.0),
    "likelihood": Likelihood(),
}
