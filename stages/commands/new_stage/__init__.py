"""``streamajig new-stage``: a file to begin with, and its test."""
