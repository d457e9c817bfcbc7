"""Checking a run config without training: it is read, and values are tried that only what is built can refuse."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from optimzoo.constructors import DefaultOptimWrapperConstructor, create_optimizer
from optimzoo.constructors.reading import WrapperRecord
from optimzoo.errors import ConfigError, OptimzooError, Problems, join_path
from optimzoo.names.trust import modules_in
from optimzoo.names.zoo import OPTIM_WRAPPERS, OPTIMIZERS, PARAM_SCHEDULERS
from optimzoo.optimizers.heeded import heed
from optimzoo.optimizers.param_groups import Group
from optimzoo.optimizers.parts import PART
from optimzoo.run.loop.train_cfg import TrainPlan
from optimzoo.run.reading import read_parts
from optimzoo.schedules.build import Records, RunLength, build_param_scheduler, by_member, warn_of_horizons
from optimzoo.schedules.preview import stand_ins
from optimzoo.wrappers.members import place_of

LONG_EPOCH = 1_000_000
"""Iterations in an epoch, where the data is not there to tell: so many that no schedule by iteration is too long."""


def config_problems(cfg: Mapping[str, Any]) -> list[OptimzooError]:
    """Return every problem in a run config; no code of a user's is called, of no slot."""
    with modules_in(cfg.get("code_dir")):
        try:
            parts, problems = read_parts(cfg)
        except ConfigError as error:  # of more problems than are told
            return error.problems
        file = parts.get("load_from")
        if file is not None and not os.path.isfile(file):
            problems.add(ConfigError(f"there is no file {str(file)[:200]}", "load_from"))
        if parts.get("optim_wrapper") and parts.get("train_cfg"):
            problems.catch(_try, parts["optim_wrapper"], parts["train_cfg"], parts.get("param_scheduler") or ())
    return problems.found


def _try(wrapper: WrapperRecord, plan: TrainPlan, schedules: Records | dict[str, Records]) -> None:
    """Build the optimizers, their wrappers and the schedules on stand-ins for the model's parameters."""
    with Problems() as problems:
        for name, member in wrapper.members.items():
            try:
                _try_member(member)
            except OptimzooError as error:
                problems.add(error.under(place_of(name)))
    stands = stand_ins(wrapper)
    with Problems() as problems:
        for name, own in by_member(schedules, stands).items():
            known = [s for s in own if PARAM_SCHEDULERS.owner_of(getattr(s, "target", type(s)))]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a length that is not the run's
                lengths = LONG_EPOCH, plan.max_epochs, plan.max_iters
                built = problems.catch(build_param_scheduler, stands[name], known, *lengths)
            run = RunLength(None, plan.max_epochs, plan.max_iters)
            place = join_path("param_scheduler", name) if isinstance(schedules, dict) else "param_scheduler"
            as_written = [s for s, record in zip(built or (), known) if not getattr(record, "convert", False)]
            warn_of_horizons([s for s in as_written if run.steps(str(s.by), s.target)], run, place)
            maker = getattr(wrapper.members[name].constructor, "read", None)
            if maker and any(schedule.param_name == "lr" for schedule in built or ()):
                for cls in maker[0].classes:
                    heed(cls, "schedule")


def _try_member(record: WrapperRecord) -> None:
    """Build an optimizer and its wrapper over one parameter for each part, if all come with plugins."""
    maker = record.constructor
    if not isinstance(maker, DefaultOptimWrapperConstructor) or maker.read is None:
        return
    described, wrapper = maker.read
    if "process_group" in described.needs and "optimizer_type" in described.given:
        OPTIMIZERS.get(described.given["optimizer_type"], "optimizer.optimizer_type")
    owners = [OPTIMIZERS.owner_of(cls) for cls in described.classes]
    bundled = all(owner is not None and "process_group" not in owner.needs for owner in owners)
    if bundled and OPTIM_WRAPPERS.owner_of(wrapper.target):
        groups: list[Group] = [
            {"params": [torch.nn.Parameter(torch.zeros(1, 1))], **part}
            for part in [{PART: name} for name in described.parts] or [{}]
        ]
        wrapper.build(optimizer=create_optimizer(described, groups))
