"""The code of a plugin that names one optimizer."""

PLUGIN = """
from optimzoo import hookimpl

@hookimpl
def optimzoo_register(zoo):
    zoo.optimizer("Nova", "{target}", {more})
"""
