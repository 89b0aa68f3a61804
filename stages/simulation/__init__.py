"""Simulated stills with known truth: made frame by frame, sent over ZeroMQ or handed to a graph directly."""
