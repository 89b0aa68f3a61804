"""Peaks, taken from the message or searched in the image."""
