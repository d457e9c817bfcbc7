"""What constructors read from ``**kwargs``."""

import pytest
import torch

from optimzoo import LinearLR, LRSchedulerMixin, ParamScheduler, build_optimizer, build_param_scheduler
from optimzoo.errors import ConfigError
from optimzoo.keywords import read_keywords


class Looks(torch.optim.SGD):
    def __init__(self, params, lr=0.1, **kwargs):
        self.clip = kwargs.get("clip", 0.0)
        self.rank = kwargs.pop("rank") if "rank" in kwargs else 4
        self.beta = kwargs["beta3"] if kwargs.get("betas3") else 0.9
        super().__init__(params, lr)


class Merges(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1, **kwargs):
        defaults = {"lr": lr, **kwargs}
        super().__init__(params, defaults)

    def step(self, closure=None):
        for group in self.param_groups:
            if group.get("adanorm"):
                group["step"] = group["warm"]
            self.state[group["params"][0]]["exp_avg"] = 0


class Updates(Merges):
    def __init__(self, params, lr=0.1, **kwargs):
        defaults = dict(lr=lr, **kwargs)
        torch.optim.Optimizer.__init__(self, params, defaults)


class HandsOn(Looks):
    def __init__(self, params, extra=1, **kwargs):
        super().__init__(params, **kwargs)


class Ignores(torch.optim.SGD):
    def __init__(self, params, lr=0.1, **kwargs):
        super().__init__(params, lr)


class Stores(torch.optim.SGD):
    def __init__(self, params, lr=0.1, **kwargs):
        self.options = kwargs
        super().__init__(params, lr)


class TakesLocals(torch.optim.SGD):
    def __init__(self, params, lr=0.1, **kwargs):
        defaults = locals()
        super().__init__(params, defaults["lr"])


class CallsAFunction(torch.optim.SGD):
    def __init__(self, params, lr=0.1, **kwargs):
        dict(sorted(**kwargs))
        super().__init__(params, lr)


@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (Looks, {"clip", "rank", "beta3", "betas3"}),
        (Merges, {"adanorm", "step", "warm", "params"}),
        (Updates, {"adanorm", "step", "warm", "params"}),
        (HandsOn, {"params", "lr", "clip", "rank", "beta3", "betas3"}),
        (Ignores, set()),
        (Stores, None),
        (TakesLocals, None),
        (CallsAFunction, None),
        (print, None),
    ],
)
def test_the_names_are_those_that_the_constructors_look_for(cls, names):
    assert read_keywords(cls) == (None if names is None else names)


@pytest.mark.parametrize(
    ("cls", "key", "hint"),
    [
        (Looks, "clpi", "'clip'"),
        (Looks, "learning_rate", "'lr'"),
        (Merges, "adanrom", "'adanorm'"),
        (HandsOn, "rnak", "'rank'"),
        (Ignores, "ltr", "'lr'"),
    ],
)
def test_a_misspelt_keyword_is_an_error_with_a_hint(cls, key, hint):
    with pytest.raises(ConfigError, match=f"{cls.__name__} has no argument '{key}'. Did you mean {hint}"):
        build_optimizer(torch.nn.Linear(1, 1), {"type": cls, key: 0.5})


@pytest.mark.parametrize("cls", [Stores, TakesLocals])
def test_what_cannot_be_told_is_taken(cls):
    build_optimizer(torch.nn.Linear(1, 1), {"type": cls, "anything": 0.5})


class Refuses(torch.optim.SGD):
    def __init__(self, params, lr=0.1, momentum=0.0, **kwargs):
        names = locals()
        if kwargs:
            raise TypeError(f"unknown: {sorted(names['kwargs'])}")
        super().__init__(params, lr, momentum)


@pytest.mark.parametrize(("key", "hint"), [("momentmu", "momentum"), ("learning_rate", "lr")])
def test_where_a_class_refuses_a_keyword_itself_the_nearest_is_told_beside_its_words(key, hint):
    said = rf"Refuses failed: .*: TypeError: unknown: \['{key}'\]. Did you mean '{hint}'\?"
    with pytest.raises(ConfigError, match=said):
        build_optimizer(torch.nn.Linear(1, 1), {"type": Refuses, key: 0.5})


def test_a_keyword_that_is_read_is_taken():
    optimizer = build_optimizer(torch.nn.Linear(1, 1), {"type": HandsOn, "extra": 2, "clip": 0.5})
    assert optimizer.clip == 0.5


class OfItsOwnLR(LRSchedulerMixin, ParamScheduler):
    def __init__(self, optimizer, *args, half_life=2.0, **kwargs):
        self.half_life = half_life
        super().__init__(optimizer, *args, **kwargs)

    def height(self, step):
        return 0.5 ** (step / self.half_life)


class OfADataclassLR(LinearLR):
    def __init__(self, optimizer, *args, twice=False, **kwargs):
        super().__init__(optimizer, *args, **kwargs)


@pytest.mark.parametrize(
    ("cls", "key", "hint"),
    [(OfItsOwnLR, "half_lif", "'half_life'"), (OfItsOwnLR, "by_epcoh", "'by_epoch'"),
     (OfADataclassLR, "start_facotr", "'start_factor'"), (OfADataclassLR, "twcie", "'twice'")],
)  # fmt: skip
def test_of_a_schedule_too(cls, key, hint):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    with pytest.raises(ConfigError, match=f"{cls.__name__} has no argument '{key}'. Did you mean {hint}"):
        build_param_scheduler(optimizer, {"type": cls, key: 0.5})
    build_param_scheduler(optimizer, {"type": cls, "begin": 1, "end": 5, "by": "iter", "verbose": False})
