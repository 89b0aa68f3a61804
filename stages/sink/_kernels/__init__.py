"""Compiled code of ``stages/sink``."""
