#!/usr/bin/env bash
# timm 1.0.31, torch 2.14.1. create_optimizer_v2(layer_decay=0.5) says that rates are scaled by layer. It writes a number lr_scale into each group and leaves lr the same
# in all. Only timm's own schedules multiply the two. Without a schedule, and under every schedule of torch or of a trainer that takes the optimizer
# (Lightning, transformers, accelerate), the patch embedding and the head train at the same rate: layer decay does nothing, without a message. Its
# param_groups_layer_decay, which other optimizers are given, is the same.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from timm.models import VisionTransformer
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler

def moved(schedule):
    torch.manual_seed(0)
    model = VisionTransformer(img_size=8, patch_size=4, embed_dim=8, depth=2, num_heads=2, num_classes=2)
    optimizer = create_optimizer_v2(model, "momentum", lr=0.1, momentum=0.0, weight_decay=0.0, layer_decay=0.5)
    steps = {"none": None, "torch": torch.optim.lr_scheduler.CosineAnnealingLR, "timm": CosineLRScheduler}[schedule]
    steps = steps and steps(optimizer, 100)
    watched = dict(patch_embed=model.patch_embed.proj.weight, block=model.blocks[0].mlp.fc1.weight, head=model.head.weight)
    before = {name: weight.detach().clone() for name, weight in watched.items()}
    for epoch in range(2):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        if schedule == "timm":
            steps.step(epoch + 1)
        elif steps:
            steps.step()
    scales = sorted({group["lr_scale"] for group in optimizer.param_groups})
    return scales, {name: round((before[name] - weight).mean().item(), 3) for name, weight in watched.items()}

for schedule in ("none", "torch", "timm"):
    scales, found = moved(schedule)
    print(f"schedule of {schedule}: lr_scale of the groups {scales}, two steps along gradients of 1 go", found)
    assert scales == [0.125, 0.25, 0.5, 1.0]
    assert found == (dict(patch_embed=0.025, block=0.05, head=0.2) if schedule == "timm" else dict.fromkeys(found, 0.2))
PYTHON
