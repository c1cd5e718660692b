"""Text and ids in the graph: what turns raw examples into the trainer's features, in training and serving alike."""
