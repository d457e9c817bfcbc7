"""Optimizers that wrap others."""
