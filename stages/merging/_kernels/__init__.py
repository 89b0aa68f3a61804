"""Compiled code of ``stages/merging``."""
