"""Compiled code of ``stages/simulation``."""
