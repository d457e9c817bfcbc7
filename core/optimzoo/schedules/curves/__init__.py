"""The curves: what a schedule does to a value, whichever hyperparameter it is. Families derive the named classes."""
