"""Compiled code of ``stages/refine``."""
