"""Compiled code of ``stages/wire``."""
