"""How the built-in teaching model is made and measured."""
