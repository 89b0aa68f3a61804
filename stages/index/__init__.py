"""From peaks to crystal lattices."""
