"""Analyses that run with the frames: sinks that keep state over the whole run and stand in its report."""
