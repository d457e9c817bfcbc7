#!/usr/bin/env bash
# pytorch-optimizer 4.1.0, torch-optimizer 0.3.0, torch 2.13.0. LAMB is to move each tensor by the same share of its norm. Both cut the norm
# of the weights at 10 and go on to divide by the norm of the update: a tensor of norm 20 moves by half that share, one of norm 100 by a
# tenth. A plain 1024 x 1024 torch.nn.Linear has norm 18.5 as it is drawn, so the largest layers train slowest, at a rate that nobody set.
# torch-optimizer has an argument for the cut, clamp_value; pytorch-optimizer takes a keyword clamp without a word and keeps its 10, which
# only the attribute changes. With the cut lifted all move alike.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 pytorch-optimizer==4.1.0 torch-optimizer==0.3.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import pytorch_optimizer, torch, torch_optimizer

def share(cls, norm, attribute=None, **settings):
    weight = torch.nn.Parameter(torch.full((100,), norm / 10))
    before = weight.detach().clone()
    optimizer = cls([weight], lr=0.01, **settings)
    if attribute:
        optimizer.clamp = attribute
    weight.grad = torch.full((100,), 0.1)
    optimizer.step()
    return round(((weight.detach() - before).norm() / before.norm()).item(), 5)

norms = (1.0, 10.0, 20.0, 100.0)
for cls, lift in ((pytorch_optimizer.Lamb, "attribute"), (torch_optimizer.Lamb, "clamp_value")):
    seen = [share(cls, norm) for norm in norms]
    lifted = [share(cls, norm, **{lift: 1e6}) for norm in norms]
    print(f"{cls.__module__}: norms {norms} move by {seen}, with the cut at a million by {lifted}")
    assert seen[0] == seen[1] == 2 * seen[2] == 10 * seen[3] > 0
    assert len(set(lifted)) == 1
assert share(pytorch_optimizer.Lamb, 100.0, clamp=1e6) == share(pytorch_optimizer.Lamb, 100.0)

torch.manual_seed(0)
norm = torch.nn.Linear(1024, 1024).weight.norm().item()
print(f"norm of the weights of torch.nn.Linear(1024, 1024): {norm:.1f}")
assert norm > 18
PYTHON
