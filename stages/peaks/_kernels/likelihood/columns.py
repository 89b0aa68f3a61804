"""Columns of the table of peaks."""

FS, SS, SIGMA, SIGNIFICANCE, BACKGROUND, VARIANCE, AROUND, INTENSITY, SNR, HIGHEST, NUM_PIXELS, COMPACT, SEEN = range(
    13
)
"""Position (pixel centres are whole numbers), width, Li and Ma's significance, mean, variance and number of background pixels;
then what :func:`measuring.measure` finds."""
N_COLUMNS = 13
