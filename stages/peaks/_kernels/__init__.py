"""Compiled code of ``stages/peaks``."""
