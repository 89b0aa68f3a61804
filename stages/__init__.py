"""Crystallography and wire formats, as stages: what each frame goes through."""
