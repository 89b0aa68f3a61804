"""Compiled code of ``stages/integrate``."""
