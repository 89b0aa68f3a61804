"""Powder rings among the peaks: ice, by its spacings, and any other; and where the detector is, as they share one centre."""
