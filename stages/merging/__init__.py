"""Merging of reflections over crystals and symmetry equivalents: a quick look, offline and while a run goes on."""
