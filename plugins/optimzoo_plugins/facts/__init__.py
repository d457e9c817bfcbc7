"""The facts about the optimizers of the bundled plugins: a file for each library, which ``make facts`` writes."""
