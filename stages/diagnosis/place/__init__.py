"""Where the detector is: shift, distance and tilt that all crystals of a run share."""
