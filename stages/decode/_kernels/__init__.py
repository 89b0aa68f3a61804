"""Compiled code of ``stages/decode``."""
