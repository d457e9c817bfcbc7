"""torch.distributed.checkpoint restores wrappers and schedules into fresh ones, at the same bits, or refuses."""

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import cross_entropy

from optimzoo import OptimWrapper, build_optim_wrapper, build_optimizer, build_param_scheduler
from optimzoo.errors import CheckpointError, ConfigError
from optimzoo.names.zoo import needs_of
from optimzoo.trainers.dcp import stateful
from optimzoo.trainers.torch import torch_scheduler
from tests.distributed.conftest import launch

__all__ = ["launch"]

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled", "ignore:.*multinomial checks")

ADAMW = dict(type="AdamW", lr=0.05, weight_decay=0.1)
MUON = dict(type="Muon", lr=0.02, rest=dict(ADAMW))
CFGS = {
    "AdamW": dict(optimizer=ADAMW, paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0)),
    "Muon and AdamW": dict(optimizer=MUON, clip_grad=dict(max_norm=1.0)),
    "bfloat16": dict(type="AmpOptimWrapper", dtype="bfloat16", optimizer=ADAMW),
    "float16": dict(type="AmpOptimWrapper", dtype="float16", loss_scale=8.0, optimizer=ADAMW),
    "flat": dict(optimizer=ADAMW, flatten=True),
    "lists of tensors": dict(optimizer=dict(type="pytorch_optimizer.SOAP", lr=0.01)),
    "8 bits": dict(optimizer=dict(type="bitsandbytes.Adam8bit", lr=0.01, min_8bit_size=1)),
    "entries of its own": dict(optimizer=dict(type="StableSPAM", lr=0.01, t_max=20)),
    "modes": dict(optimizer=dict(type="AdamWScheduleFree", lr=0.01)),
    "several": dict(embed=dict(optimizer=dict(ADAMW)), head=dict(type="AmpOptimWrapper", optimizer=dict(MUON))),
}
SCHEDULES = [
    dict(type="LinearLR", start_factor=0.1, by="update", end=6),
    dict(type="CosineAnnealingLR", by="update", begin=6, end=20),
]


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = nn.Embedding(9, 8), nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 9))

    def forward(self, x):
        return self.head(self.embed(x))


class Scaled(Network):
    """A network with a row and a number, of which one process has all and another nothing."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Linear(9, 1)

    def forward(self, x):
        found = super().forward(x)
        return found * self.scale(found)


class Run:
    def __init__(self, cfg, schedules=SCHEDULES, model=None):
        self.model = model or Network()
        self.wrapper = build_optim_wrapper(self.model, cfg)
        built = build_param_scheduler(self.wrapper, schedules)
        self.schedules = built if not isinstance(built, dict) else next(iter(built.values()))

    def train(self, updates=4):
        x = torch.arange(9)
        if "modes" in needs_of(getattr(self.wrapper, "optimizer", None)):
            self.wrapper.optimizer.train()
        for _ in range(updates):
            with self.wrapper.optim_context(self.model):
                loss = cross_entropy(self.model(x), x.flip(0))
            self.schedules.step(self.wrapper.update_params(loss))
        return self

    def parts(self):
        parts = dict(optimizer=stateful(self.wrapper), schedules=stateful(self.schedules))
        return dict(model=self.model.state_dict(), **parts)

    def save(self, folder):
        dcp.save(self.parts(), checkpoint_id=folder)
        return self

    def load(self, folder):
        parts = self.parts()
        dcp.load(parts, checkpoint_id=folder)
        self.model.load_state_dict(parts["model"])
        return self

    def weights(self):
        return [whole(p) for p in self.model.parameters()]

    def entries(self):
        state = self.wrapper.optimizer.state
        return [whole(value) for p in self.model.parameters() for _, value in sorted(state[p].items())]


def whole(tensor):
    return getattr(tensor, "full_tensor", lambda: tensor)().detach().clone()


def same(run, other):
    assert all(map(torch.equal, run.weights(), other.weights()))
    assert run.wrapper.get_lr() == other.wrapper.get_lr()
    assert run.schedules.state_dict() == other.schedules.state_dict()


class Counts(torch.optim.SGD):
    """Keeps what is no tensor, under numbers, as some libraries do."""

    def step(self, closure=None):
        super().step(closure)
        for p in self.param_groups[0]["params"]:
            inner = self.state[p].setdefault(
                "inner", {0: {"steps": 0, "seen": set(), "pair": ("none", p.detach() * 0)}}
            )
            inner[0]["steps"] += 1
            inner[0]["seen"].add(inner[0]["steps"])
            inner[0]["pair"] = (f"step {inner[0]['steps']}", p.detach().clone())


def test_what_is_no_tensor_is_kept_as_it_is(tmp_path):
    cfg = dict(optimizer=dict(type=Counts, lr=0.1))
    run = Run(cfg).train(3).save(tmp_path)
    fresh = Run(cfg).load(tmp_path)
    for p in run.model.parameters():
        kept = run.wrapper.optimizer.state[p]["inner"][0]
        assert (kept["steps"], kept["seen"], kept["pair"][0]) == (3, {1, 2, 3}, "step 3")
    for p, other in zip(run.model.parameters(), fresh.model.parameters()):
        kept, found = (each.wrapper.optimizer.state[q]["inner"] for each, q in ((run, p), (fresh, other)))
        assert found.keys() == kept.keys()
        assert (found[0]["steps"], found[0]["seen"], found[0]["pair"][0]) == (3, {1, 2, 3}, "step 3")
        assert torch.equal(found[0]["pair"][1], kept[0]["pair"][1])


@pytest.mark.parametrize("cfg", CFGS.values(), ids=CFGS)
def test_a_fresh_wrapper_goes_on_at_the_same_bits(cfg, tmp_path):
    run = Run(cfg).train().save(tmp_path)
    fresh = Run(cfg).load(tmp_path)
    same(run.train(), fresh.train())


def test_what_has_trained_is_restored_too(tmp_path):
    run = Run(CFGS["AdamW"]).train().save(tmp_path)
    same(run.train(), Run(CFGS["AdamW"]).train(7).load(tmp_path).train())


def test_other_groups_take_the_state_by_names(tmp_path):
    run = Run(CFGS["AdamW"]).train().save(tmp_path)
    single = CFGS["AdamW"] | dict(paramwise_cfg=dict(CFGS["AdamW"]["paramwise_cfg"], merge_groups=False))
    other = Run(single, schedules=[])
    dcp.load(dict(optimizer=stateful(other.wrapper)), checkpoint_id=tmp_path)
    for name, p in run.model.named_parameters():
        wanted, found = run.wrapper.optimizer.state[p], other.wrapper.optimizer.state[other.model.get_parameter(name)]
        assert all(torch.equal(wanted[key], found[key]) for key in wanted)


def test_what_was_never_updated_stays_so(tmp_path):
    def made():
        run = Run(dict(optimizer=ADAMW))
        run.unused = nn.Parameter(torch.ones(2))
        run.wrapper.optimizer.add_param_group(dict(params=[run.unused], param_names=["unused"]))
        return run

    run = made().train().save(tmp_path)
    fresh = made().load(tmp_path)
    assert run.unused not in run.wrapper.optimizer.state
    assert fresh.unused not in fresh.wrapper.optimizer.state
    Run(dict(optimizer=ADAMW)).save(tmp_path / "untrained")
    again = Run(dict(optimizer=ADAMW)).load(tmp_path / "untrained")
    assert not again.wrapper.optimizer.state


def test_the_wrapper_itself_is_refused_where_it_is_fresh(tmp_path):
    run = Run(CFGS["Muon and AdamW"]).train()
    dcp.save(dict(optimizer=run.wrapper), checkpoint_id=tmp_path)
    with pytest.raises(CheckpointError, match=r"saved with 7 entries, and none are there.*stateful\(optim_wrapper\)"):
        dcp.load(dict(optimizer=Run(CFGS["Muon and AdamW"]).wrapper), checkpoint_id=tmp_path)
    other = Run(CFGS["Muon and AdamW"]).train(1)
    dcp.load(dict(optimizer=other.wrapper), checkpoint_id=tmp_path)
    states = (each.wrapper.state_dict()["state"] for each in (run, other))
    torch.testing.assert_close(*states, rtol=0, atol=0)


def test_several_in_one_are_refused_too(tmp_path):
    dcp.save(dict(optimizer=Run(CFGS["Muon and AdamW"]).train().wrapper.optimizer), checkpoint_id=tmp_path)
    with pytest.raises(CheckpointError, match=r"saved with 7 entries, and none are there.*get_optimizer_state_dict"):
        dcp.load(dict(optimizer=Run(CFGS["Muon and AdamW"]).wrapper.optimizer), checkpoint_id=tmp_path)


def test_entries_that_a_first_step_does_not_make_are_told(tmp_path):
    run = Run(dict(optimizer=ADAMW)).train()
    for entry in run.wrapper.optimizer.state.values():
        entry["later"] = [torch.ones(2)]
    run.save(tmp_path)
    with pytest.raises(CheckpointError, match=r"^state\.embed\.weight: .*'later.0' of 'embed.weight'"):
        Run(dict(optimizer=ADAMW)).load(tmp_path)


def test_what_has_no_fixed_places_is_refused_by_name():
    wrapper = OptimWrapper(torch.optim.LBFGS(nn.Linear(1, 1).parameters()))
    with pytest.raises(ConfigError, match=r"LBFGS step\(\) evaluates the loss itself.*cannot hold its state"):
        stateful(wrapper)
    with pytest.raises(ConfigError, match="get_optimizer_state_dict"):
        stateful(wrapper.optimizer)


def test_schedules_that_differ_are_told(tmp_path):
    run = Run(CFGS["AdamW"]).train().save(tmp_path)
    for schedules in (SCHEDULES[:1], [dict(SCHEDULES[0], end=9), SCHEDULES[1]]):
        other = build_param_scheduler(run.wrapper, schedules)
        with pytest.raises(CheckpointError, match="not those of the checkpoint"):
            dcp.load(dict(schedules=stateful(other)), checkpoint_id=tmp_path)


@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.parametrize("cfg", [ADAMW, MUON], ids=["AdamW", "Muon and AdamW"])
def test_torchs_own_functions_restore_a_fresh_optimizer(cfg, flatten, tmp_path):
    options = StateDictOptions(flatten_optimizer_state_dict=flatten)

    def made():
        model = Network()
        optimizer = build_optimizer(model, cfg)
        return model, optimizer, torch_scheduler(optimizer, SCHEDULES, total_updates=20)

    def train(model, optimizer, scheduler):
        x = torch.arange(9)
        for _ in range(4):
            cross_entropy(model(x), x.flip(0)).backward()
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()

    def parts(model, optimizer, scheduler):
        state = get_optimizer_state_dict(model, optimizer, options=options)
        return dict(model=model.state_dict(), optimizer=state, scheduler=scheduler)

    run, fresh = made(), made()
    train(*run)
    dcp.save(parts(*run), checkpoint_id=tmp_path)
    loaded = parts(*fresh)
    dcp.load(loaded, checkpoint_id=tmp_path)
    fresh[0].load_state_dict(loaded["model"])
    set_optimizer_state_dict(fresh[0], fresh[1], loaded["optimizer"], options=options)
    for each in (run, fresh):
        train(*each)
    assert all(map(torch.equal, run[0].parameters(), fresh[0].parameters()))
    assert run[2].get_last_lr() == fresh[2].get_last_lr()


def shared(cfg):
    model = Scaled()
    fully_shard(model)
    return Run(cfg, model=model)


def in_processes(folder):
    for name in ("AdamW", "Muon and AdamW"):
        run = shared(CFGS[name]).train().save(f"{folder}/{name}")
        torch.save(run.weights() + run.entries(), f"{folder}/{name}-{dist.get_rank()}.pt")
        same(run.train(), shared(CFGS[name]).load(f"{folder}/{name}").train())
        taken = shared(CFGS[name]).load(f"{folder}/{name} alone")
        torch.save(taken.weights() + taken.entries(), f"{folder}/{name}-taken-{dist.get_rank()}.pt")


def test_two_processes_restore_their_shares_and_one_takes_the_whole_and_the_other_way_round(launch, tmp_path):
    saved = {
        name: Run(CFGS[name], model=Scaled()).train().save(tmp_path / f"{name} alone")
        for name in ("AdamW", "Muon and AdamW")
    }
    for code, output in launch(in_processes, tmp_path):
        assert code == 0, output
    for name in ("AdamW", "Muon and AdamW"):
        alone = Run(CFGS[name], model=Scaled()).load(tmp_path / name)
        assert all(map(torch.equal, alone.weights() + alone.entries(), torch.load(tmp_path / f"{name}-0.pt")))
        taken = torch.load(tmp_path / f"{name}-taken-1.pt")
        assert all(map(torch.equal, saved[name].weights() + saved[name].entries(), taken))


def test_a_state_from_which_entries_were_taken_says_so():
    run = Run(dict(optimizer=ADAMW)).train()
    state = dict(run.wrapper.state_dict())
    state["state"] = {number: entry for number, entry in state["state"].items() if number > 0}
    with pytest.raises(CheckpointError, match="saved with 7 entries, and 6 are there"):
        run.wrapper.load_state_dict(state)
    run.wrapper.load_state_dict(state | dict(entries=6))
