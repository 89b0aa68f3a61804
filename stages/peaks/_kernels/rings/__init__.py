"""Kernels for the statistics of rings: mean and threshold of all pixels at the same distance from the beam.

Words: a *ring* is the set of pixels whose distance from the beam rounds to the same number of pixels; `ring` is a uint16
map in packed order (see ``stages/pixels/tables.py``) of each pixel's ring, with masked pixels in a ring of their own, the last.
A *block* is BLOCK neighbouring pixels of a row (fewer at its end). Pixels are taken as float32, whatever their type on the
wire; sums are exact for integers, float64 for the others.

The statistics ask for five rounds of clipping over all pixels. What is done instead gives the same numbers in one pass:
a few pixels of each ring, or the frame before, tell roughly where the thresholds will be (``ring_samples``); the pass adds up
what lies well within (the ring's *core*) and lists what does not (``ring_core``); then each round adds the listed pixels that
are within its thresholds to the core (``ring_clip``). A ring whose thresholds come to cut into its core is done by five plain
rounds.

A block is looked at pixel by pixel only where one of them is outside what *all* rings of the block have in common: the
rings of a block are a range of numbers, and tables of the range's least and greatest bound (``ring_blocks``) cost next
to nothing. ``ring_screen`` lists the pixels above their ring's threshold.

The fast search takes thresholds from samples and from all pixels of each ring's upper tail (``ring_tails``); one pass takes
the samples and finds each block's highest pixel, so that only blocks with a tail are looked at again (``ring_survey``).
``ring_moments`` is what both have in common: mean, sigma and thresholds of some values. ``ring_tuples`` is what these kernels
hand each other.
"""
