"""Tidy table to figure, table twin and alt text. Plotly lives here alone."""
