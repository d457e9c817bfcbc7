"""What mmengine's pages on optimizer wrappers show, with the import changed; the prints are theirs.

Single precision, as a loop by hand and by one call:

>>> import torch
>>> from torch import nn
>>> from torch.optim import SGD
>>> from torch.utils.data import DataLoader
>>> from optimzoo import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
>>> inputs = DataLoader([torch.ones(1, 1, 1)] * 10)
>>> model = nn.Linear(1, 1)
>>> optimizer = SGD(model.parameters(), lr=0.01)
>>> optimizer.zero_grad()
>>> optim_wrapper = OptimWrapper(optimizer=optimizer)
>>> for data in inputs:
...     with optim_wrapper.optim_context(model):
...         loss = model(data).sum()
...     outcome = optim_wrapper.update_params(loss)

Mixed precision, accumulation and clipping change the wrapper, not the loop:

>>> for optim_wrapper in (
...     AmpOptimWrapper(optimizer=optimizer),
...     OptimWrapper(optimizer=optimizer, accumulative_counts=3),
...     OptimWrapper(optimizer=optimizer, clip_grad=dict(max_norm=1)),
...     OptimWrapper(optimizer=optimizer, clip_grad=dict(type="value", clip_value=0.2)),
... ):
...     for data in inputs:
...         with optim_wrapper.optim_context(model):
...             loss = model(data).sum()
...         outcome = optim_wrapper.update_params(loss)
...     print(optim_wrapper.update_count)
...     optimizer.zero_grad()  # three do not divide ten: gradients of the second wrapper are left
10
3
10
10

The same by its parts:

>>> optim_wrapper = AmpOptimWrapper(optimizer=optimizer, accumulative_counts=3)
>>> for data in inputs:
...     with optim_wrapper.optim_context(model):
...         loss = model(data).sum()
...     loss = optim_wrapper.scale_loss(loss)
...     optim_wrapper.backward(loss)
...     if optim_wrapper.should_update():
...         outcome = optim_wrapper.step()
...         optim_wrapper.zero_grad()

Hyperparameters:

>>> model = nn.Linear(1, 1)
>>> optimizer = SGD(model.parameters(), lr=0.01)
>>> optim_wrapper = OptimWrapper(optimizer)
>>> print(optimizer.param_groups[0]["lr"])
0.01
>>> print(optim_wrapper.get_lr())
{'lr': [0.01]}
>>> print(optim_wrapper.get_momentum())
{'momentum': [0]}

States:

>>> optim_state_dict = optim_wrapper.state_dict()
>>> amp_wrapper = AmpOptimWrapper(optimizer=optimizer)
>>> amp_state_dict = amp_wrapper.state_dict()
>>> print(set(amp_state_dict) - set(optim_state_dict))
{'loss_scaler'}
>>> amp_wrapper.load_state_dict(amp_state_dict)
>>> optim_wrapper.load_state_dict(amp_state_dict)

Several optimizers:

>>> gen, disc = nn.Linear(1, 1), nn.Linear(1, 1)
>>> optim_dict = OptimWrapperDict(
...     gen=AmpOptimWrapper(optimizer=SGD(gen.parameters(), lr=0.01)),
...     disc=AmpOptimWrapper(optimizer=SGD(disc.parameters(), lr=0.01)),
... )
>>> print(optim_dict.get_lr())
{'gen.lr': [0.01], 'disc.lr': [0.01]}
>>> print(optim_dict.get_momentum())
{'gen.momentum': [0], 'disc.momentum': [0]}
>>> for name in optim_dict.keys():
...     optim_dict[name].update_params((gen if name == "gen" else disc)(torch.ones(1)).sum())
<StepOutcome.UPDATED: 'updated'>
<StepOutcome.UPDATED: 'updated'>
"""
