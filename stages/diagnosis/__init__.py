"""What is wrong with an experiment, told from many of its frames: single ones cannot tell."""
