"""Training: recipes, algorithms, the resumable loop, checkpoints and evaluation."""
