"""What a graph is, what is wrong with one, and how it is written down."""
