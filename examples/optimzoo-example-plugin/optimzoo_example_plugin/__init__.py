"""Registers the names. It imports neither torch nor the classes: optimzoo does so when a config names one of them."""

from optimzoo import hookimpl


@hookimpl
def optimzoo_register(zoo):
    zoo.optimizer(
        "SignDescent",
        "optimzoo_example_plugin.sign_descent:SignDescent",
        about="The sign of the momentum",
        paper="https://arxiv.org/abs/1802.04434",
    )
    zoo.constructor(
        "HeadOptimWrapperConstructor",
        "optimzoo_example_plugin.head:HeadOptimWrapperConstructor",
        about="A learning rate of its own for the parameters of the head",
    )
