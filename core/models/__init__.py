"""Which models there are, whether one fits, and how it is loaded."""
