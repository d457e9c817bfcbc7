"""What a run writes and reads back: checkpoints, history, its folder."""
