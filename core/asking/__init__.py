"""Ask a model survey questions and read what it answers."""
