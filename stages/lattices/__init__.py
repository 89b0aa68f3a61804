"""Unit cells, the settings in which one lattice can be described, and Bravais types."""
