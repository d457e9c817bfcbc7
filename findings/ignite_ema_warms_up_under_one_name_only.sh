#!/usr/bin/env bash
# pytorch-ignite 0.5.5, torch 2.13.0. EMAHandler keeps an average of a model's weights. attach(engine, name) files its momentum under a name of one's choice, which has
# to be another for each model. momentum_warmup and warmup_iters are to begin with a larger momentum; their schedule writes to "ema_momentum" whatever
# the name is. Under every other name the momentum never warms up: the average stays near the untrained weights. Two handlers for two models
# have no warm-up, or the one named "ema_momentum" has that of the other. No message.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 pytorch-ignite==0.5.5
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler

def averages(**handlers):
    models = [torch.nn.Linear(1, 1, bias=False) for _ in handlers]
    seen = {name: [] for name in handlers}

    def update(engine, batch):
        for model in models:
            torch.nn.init.ones_(model.weight)

    engine, made = Engine(update), {}
    for model, (name, iters) in zip(models, handlers.items()):
        torch.nn.init.zeros_(model.weight)
        made[name] = EMAHandler(model, momentum=0.001, momentum_warmup=0.5, warmup_iters=iters)
        made[name].attach(engine, name)
    watch = lambda engine: [seen[name].append(round(getattr(engine.state, name), 3)) for name in handlers]
    engine.add_event_handler(Events.ITERATION_COMPLETED, watch)
    engine.run([0] * 8)
    return {name: (seen[name], round(made[name].ema_model.weight.item(), 3)) for name in handlers}

for handlers in (dict(ema_momentum=4), dict(generator=4), dict(generator=4, critic=2), dict(ema_momentum=4, critic=2)):
    found = averages(**handlers)
    for name, (momenta, average) in found.items():
        print(f"handlers {list(handlers)}: momentum of {name} {momenta}, its average of weights of 1 ends at {average}")
        if name == "ema_momentum":
            assert momenta[0] == 0.5 and average > 0.5
            assert (momenta[2] == 0.001) == (len(handlers) == 2)
        else:
            assert set(momenta) == {0.001} and average < 0.01
PYTHON
