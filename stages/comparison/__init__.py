"""Ways of doing the same thing, compared on the same frames: what is measured of each, and what that says."""
