"""The language of CrystFEL's ``.geom`` files: what a line says, what it is a number of, what it masks.

It lies outside ``geometry_map`` because simulation and sources read geometry files too, and kinds of stage never import
each other. Use it through :class:`stages.files.geom.detector.Detector`.
"""
