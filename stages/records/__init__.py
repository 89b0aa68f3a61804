"""What stages hand each other: header, image, geometry, peaks, crystals, and how a reflection was integrated."""
