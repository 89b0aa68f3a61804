"""Kernels of peaks/likelihood, in the order in which a frame passes them.

Words: a *cell* is a small piece of a ring around the beam, over which the background hardly changes; `cell` is an int32 map
in packed order (see ``stages/pixels/tables.py``). A *tile* is a rectangle of a panel, TILE_SS by TILE_FS pixels. A *candidate*
is a pixel around which a square of 5 x 5 pixels holds more than chance explains. Pixels are taken as float32.

``background_cells`` describes the background, ``squares`` finds the candidates, ``groups`` joins them, ``summit_search``
looks at what is highest in each, ``measuring`` measures the peaks.
"""
