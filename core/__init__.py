"""Pluriscope's core: surveys, prompts, models, answers and scores. Knows nothing of Streamlit."""

VERSION = "0.1.0"
