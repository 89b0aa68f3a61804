"""Which reflections of a crystal light up, and where they fall on the detector."""
