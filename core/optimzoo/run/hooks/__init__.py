"""What watches a run, and adds to it."""
