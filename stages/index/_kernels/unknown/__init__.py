"""The kernels of index/lattice: the search for a lattice that explains one still's spots, from the spots alone.

Units and names: q in 1/Angstrom (without 2 pi), spots as (3, n) arrays sorted by |q|, the beam along z. A basis holds a, b, c
in its rows, so that the indices of a spot are ``h = A (q - s)``, s being a small shift of the detector.

In the order in which a search goes: ``transform`` finds where lattice vectors may be, ``vectors`` refines them, ``triples``
combines them to lattices and nets, ``fit`` refines a lattice, ``likelihood`` says how significant it is, ``neighbours`` tries
sublattices and superlattices, ``nets`` judges two of the axes, ``third_axis`` looks for the third anew, ``search`` leads.
What they hand each other stands in ``tuples``, how far a spot is from a lattice point in ``residuals``.
"""
