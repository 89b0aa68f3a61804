"""Graphs as YAML, which people write and read."""
