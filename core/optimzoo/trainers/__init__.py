"""Other people's trainers: a module for each tool, imported by its name only."""
