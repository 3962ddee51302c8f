"""What tuning cost elsewhere."""
