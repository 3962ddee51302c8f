"""From an item, a country and a method to the messages a model sees."""
