"""What is looked at before a graph is taken: whether it is right, and what it may do."""
