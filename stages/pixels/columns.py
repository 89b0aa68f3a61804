"""What kernels know of pixels: the columns of a table of panels (see :mod:`stages.pixels.tables`), and their types."""

import numpy as np

OFFSET, STRIDE_SS, STRIDE_FS, WIDTH, HEIGHT, START = range(6)
"""First pixel and steps in the flat array (in pixels), size, and place in packed order."""

PIXEL_TYPES = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64, np.float32, np.float64)
"""What pixels may be; floats last."""
