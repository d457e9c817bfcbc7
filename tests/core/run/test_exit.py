"""Somebody else's code that calls ``exit()`` does not end a run as if all were well."""

import sys

import pytest
import torch

from optimzoo import OptimWrapper
from optimzoo.errors import OptimzooError
from optimzoo.run import Hook

from .network import dataset, network


def leave(*_, **__):
    sys.exit(0)


def leaving(method, made):
    setattr(made, method, leave)
    return made


def wrapped(method):
    model = network()
    return dict(model=model, optim_wrapper=OptimWrapper(leaving(method, torch.optim.SGD(model.parameters(), lr=0.1))))


class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        leave()


HOOKS = ("before_train", "before_epoch", "after_iter", "before_checkpoint", "state_dict", "after_train")
CHANGES = [
    *(dict(model=leaving(method, network())) for method in ("forward", "state_dict")),
    dict(model=leaving("train_step", network()), loss=None),
    dict(loss=leave),
    dict(train_dataloader=torch.utils.data.DataLoader(Data())),
    dict(val_dataloader=dict(dataset=dataset(8), batch_size=8), metrics=leave),
    *(wrapped(method) for method in ("step", "zero_grad", "state_dict")),
    *(dict(hooks=[leaving(method, Hook())]) for method in HOOKS),
]


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: [*changes][-1])
def test_it_is_an_error_with_its_place(changes, make_runner):
    runner = make_runner(**changes)
    with pytest.raises(OptimzooError, match=r"called exit\(\): .*test_exit\.py:\d+: SystemExit: 0"):
        runner.train()
