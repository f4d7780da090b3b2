"""Processes that run graphs, and what keeps them going."""
