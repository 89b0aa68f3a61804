"""Compiled code of ``stages/prediction``."""
