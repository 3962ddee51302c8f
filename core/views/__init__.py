"""Tables and sentences for pages, commands and exports."""
