"""Files that CrystFEL's users keep: geometries, cells, solutions, streams."""
