"""A tuning: questions of the model's own, pairs, LoRA, experiments, what it cost."""
