"""The live monitor: what a run publishes of itself, who receives it, and the page that shows it."""
