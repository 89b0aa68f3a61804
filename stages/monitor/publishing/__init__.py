"""What a run publishes of itself: taken out of frames in the replicas, gathered in one place, sent by a thread of its own."""
