"""Items, countries and people's shares."""
