"""What is made of answers: scores, robustness, derived runs."""
