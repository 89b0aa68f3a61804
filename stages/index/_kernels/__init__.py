"""Compiled code of ``stages/index``."""
