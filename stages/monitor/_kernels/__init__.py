"""Compiled code of ``stages/monitor``."""
