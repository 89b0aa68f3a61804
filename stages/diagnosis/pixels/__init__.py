"""What is wrong with pixels: gaps that are not masked, hot ones, saturation, an adu_per_photon that the noise contradicts."""

from stages.diagnosis.pixels.subject import Pixels

__all__ = ["Pixels"]
