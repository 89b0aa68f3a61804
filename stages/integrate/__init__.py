"""Predicted reflections and their intensities."""
