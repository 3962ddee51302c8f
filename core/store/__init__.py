"""DuckDB remembers: every query of the product is here."""
