"""Exact option probabilities and written answers from a model in memory."""
