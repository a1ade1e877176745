"""Scaling laws: runs of a sweep or of anybody's table, the laws that fit them, and what to train for a budget."""
