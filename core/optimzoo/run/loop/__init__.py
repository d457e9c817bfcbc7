"""What happens between two checkpoints: the step, its length, its measurements."""
