"""The kernels of index/pairs: the search for the orientation of a known cell that explains one pattern's spots.

Units and names: q in 1/Angstrom (without 2 pi), spots as (3, n) arrays sorted by |q|. A basis holds a, b, c of the primitive
reduced cell in its rows, so that the indices of a spot are ``h = A q``; its misfit is ``d = max |h - round(h)|`` over the
three indices, and 1 if it rounds to (0, 0, 0), which is never an explanation.

In the order in which a search goes: ``pairs`` and ``directions`` (with ``turns``) propose orientations, ``polish`` refines
them and keeps a list, ``sharpen`` refines the best with what is known of a spot (``residuals``), ``judge`` says how
significant a basis is,
``contest`` chooses, ``accept`` decides, ``search`` leads. A detector that is off is found in ``phases`` and ``displaced``.
They hand each other ``tuples``.
"""
