"""The columns of a table of panels (see :mod:`stages.pixels.tables`), for kernels."""

OFFSET, STRIDE_SS, STRIDE_FS, WIDTH, HEIGHT, START = range(6)
"""First pixel and steps in the flat array (in pixels), size, and place in packed order."""
