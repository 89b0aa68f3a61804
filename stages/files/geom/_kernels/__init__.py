"""Compiled code of ``stages/files/geom``."""
