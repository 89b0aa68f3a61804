"""Recordings: what came over a socket, on disk as it came."""
