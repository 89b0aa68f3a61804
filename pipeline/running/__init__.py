"""What happens while a graph runs: frames come in, replicas process them, what arrives is counted and written."""
