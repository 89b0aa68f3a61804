"""After the peak search: the image and the geometry as they were before it was filtered."""

from __future__ import annotations

from dataclasses import replace

from pipeline import stage
from stages.records.geometry import DetGeom
from stages.records.image import Image
from stages.records.peaklist import PeakList


@stage("peaks/restore")
class Restore:
    """Put image and geometry back as they came, and count the peaks' places in their pixels.

    Stands after the peak search (and ``peaks/validate``) in a graph that has ``peaks/median_filter``, ``peaks/noise_filter`` or
    ``peaks/bin`` before it, whatever their number and order; what is integrated then is the image as it came. Without any of
    them it changes nothing. Averages over n pixels become sums: a binned peak's intensity is multiplied by n, as is the
    number of its pixels; its highest pixel and snr stay as they were measured.
    """

    def __call__(self, found: PeakList, image: Image, geom: DetGeom) -> tuple[PeakList, Image, DetGeom]:
        """Undo all filters, the last one first."""
        while (before := image.before) is not None:
            n = before.bin
            if n > 1:
                found = replace(
                    found,
                    fs=found.fs * n,
                    ss=found.ss * n,
                    intensity=found.intensity * n**2,
                    num_pixels=found.num_pixels * n**2,
                )
            image, geom = before.image, before.geom
        return found, image, geom
