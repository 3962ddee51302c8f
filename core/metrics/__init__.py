"""Scores on arrays: definitions, intervals, references. No store, no model."""
