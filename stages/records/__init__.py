"""What stages hand each other: header, image, geometry, peaks, crystals, and how a reflection was integrated.

>>> from stages.records import Crystals, DetGeom, Image, PeakList
"""

from stages.records.crystal import Crystal, Crystals, Reflections
from stages.records.diagnosis import Diagnosis
from stages.records.displacement import Displacement
from stages.records.geometry import HC_EV_ANGSTROM, DetGeom, Panel
from stages.records.header import Header
from stages.records.image import Before, Image
from stages.records.limits import CellLimits
from stages.records.peaklist import Hit, PeakList

__all__ = [
    "HC_EV_ANGSTROM",
    "Before",
    "CellLimits",
    "Crystal",
    "Crystals",
    "DetGeom",
    "Diagnosis",
    "Displacement",
    "Header",
    "Hit",
    "Image",
    "Panel",
    "PeakList",
    "Reflections",
]
