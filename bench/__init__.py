"""Benchmarks: each row is a ratio against a peer, measured in turns in the same run. ``python -m bench`` runs all."""
