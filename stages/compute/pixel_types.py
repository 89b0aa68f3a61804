"""What pixels may be."""

import numpy as np

PIXEL_TYPES = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64, np.float32, np.float64)
"""The types of pixels, in native byte order; floats last."""

COMMON_TYPES = (np.int32, np.uint16, np.float32, np.uint32, np.int16)
"""What detectors send, as a rule. Kernels for these are compiled whenever a stage opens, for the first one first."""
