"""What pixels may be."""

import numpy as np

PIXEL_TYPES = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64, np.float32, np.float64)
"""The types of pixels, in native byte order; floats last."""
