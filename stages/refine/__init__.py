"""Better lattices, from the same peaks."""
