"""How kernels are compiled, and the small algebra that they share."""
