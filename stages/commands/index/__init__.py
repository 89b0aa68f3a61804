"""``streamajig index``: indexamajig's options, and the graph that they ask for."""
