"""Columns of a table of panels, as kernels read it; see :mod:`stages.pixels.tables`."""

OFFSET, STRIDE_SS, STRIDE_FS, WIDTH, HEIGHT, START = range(6)
"""First pixel and steps in the flat array (in pixels), size, and place in packed order."""
