"""What an optimizer keeps in attributes of its own is saved with a wrapper's state, and resumes to the bit."""

import copy
import pickle
from collections import defaultdict, deque

import pytest
import torch

from optimzoo import OptimWrapper, build_optim_wrapper, build_optimizer
from optimzoo.errors import CheckpointError


class Counts(torch.optim.SGD):
    """Everything that it goes by is in attributes."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)
        self.count, self.first, self.is_even, self.mean = 0, lr, True, None
        self.norms, self.history = deque([1.0], maxlen=3), {"losses": []}
        self.total, self.noise = torch.zeros(2), torch.Generator().manual_seed(3)

    @torch.no_grad()
    def step(self, closure=None):
        self.count, self.is_even = self.count + 1, not self.is_even
        for p in self.param_groups[0]["params"]:
            norm = p.grad.norm()
            self.mean = norm if self.mean is None else 0.9 * self.mean + 0.1 * norm
            self.norms.append(float(norm))
            self.history["losses"].append(float(norm))
            self.total += norm
            rate = self.first / self.count * (1 + self.is_even) * self.mean / sum(self.norms)
            noise = torch.rand(p.shape, generator=self.noise) + len(self.history["losses"]) + self.total[0]
            p.sub_(p.grad * rate * noise)


class ByParameter(torch.optim.SGD):
    """Its momenta are in a dict of its own, under the parameters, their ids or their places."""

    def __init__(self, params, lr=0.1, under="parameter"):
        super().__init__(params, lr=lr)
        self.under, self.momenta, self.sums = under, defaultdict(dict), None

    @torch.no_grad()
    def step(self, closure=None):
        params = [(g, p) for g in self.param_groups for p in g["params"]]
        self.sums = self.sums or [torch.zeros_like(p) for _, p in params]
        for place, (group, p) in enumerate(params):
            momentum = self.momenta[{"parameter": p, "id": id(p), "place": ("p", place)}[self.under]]
            momentum["mean"] = momentum.get("mean", 0) * 0.9 + p.grad
            self.sums[place].mul_(0.5).add_(p.grad)
            p.sub_(group["lr"] * (momentum["mean"] + self.sums[place]))


CONFIGS = {
    "counts": dict(type=Counts),
    **{under: dict(type=ByParameter, under=under) for under in ("parameter", "id", "place")},
    "of a part": dict(type="SGD", lr=0.1, rest=dict(type=Counts)),
}


def build(config, **how):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    return model, build_optim_wrapper(model, dict(optimizer=copy.deepcopy(config), **how))


def train(model, wrapper, numbers):
    for number in numbers:
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(number))
        wrapper.update_params(model(x).square().mean())


def save(model, wrapper, file):
    torch.save({"model": model.state_dict(), "wrapper": wrapper.state_dict()}, file)


def resume(model, wrapper, file):
    saved = torch.load(file)
    model.load_state_dict(saved["model"])
    wrapper.load_state_dict(saved["wrapper"])
    train(model, wrapper, range(3, 6))
    return model.weight


@pytest.mark.parametrize(
    ("name", "rules"),
    [*((n, None) for n in CONFIGS), *((n, dict(bias_lr_mult=2.0)) for n in ("parameter", "id", "place"))],
)
def test_a_run_goes_on_in_new_objects_and_in_those_that_went_further(name, rules, tmp_path):
    config = CONFIGS[name]
    model, wrapper = build(config, paramwise_cfg=rules)
    train(model, wrapper, range(3))
    save(model, wrapper, tmp_path / "state.pt")
    train(model, wrapper, range(3, 6))
    end = model.weight.detach().clone()
    assert torch.equal(resume(*build(config, paramwise_cfg=rules), tmp_path / "state.pt"), end)
    assert torch.equal(resume(model, wrapper, tmp_path / "state.pt"), end)


def test_a_run_goes_back_to_before_its_first_step(tmp_path):
    model, wrapper = build(CONFIGS["counts"])
    save(model, wrapper, tmp_path / "state.pt")
    train(model, wrapper, range(2))
    wrapper.load_state_dict(torch.load(tmp_path / "state.pt")["wrapper"])
    assert (wrapper.optimizer.count, wrapper.optimizer.is_even, [*wrapper.optimizer.norms]) == (0, True, [1.0])


def test_momenta_follow_their_parameters_into_other_groups(tmp_path):
    model, wrapper = build(CONFIGS["id"])
    wrapper.optimizer.momenta[id(model.bias)] = {"mean": torch.ones(2)}
    other, rest = build(CONFIGS["id"], paramwise_cfg=dict(custom_keys={"bias": dict(lr_mult=2.0)}))
    rest.load_state_dict(wrapper.state_dict())
    assert rest.optimizer.momenta[id(other.bias)]["mean"].tolist() == [1, 1]
    assert type(rest.optimizer.momenta) is defaultdict


def test_arguments_stay_those_of_the_program():
    model, wrapper = build(CONFIGS["counts"])
    train(model, wrapper, range(2))
    _, other = build(dict(type=Counts, lr=0.3))
    other.load_state_dict(wrapper.state_dict())
    assert (other.optimizer.count, other.optimizer.first) == (2, 0.3)


def test_what_resumes_exactly_by_its_own_state_saves_nothing_more():
    _model, wrapper = build(dict(type="LBFGS"))
    wrapper.optimizer.beside = 0
    at_first = wrapper.state_dict()
    wrapper.optimizer.beside = 1
    assert "attributes" not in at_first | wrapper.state_dict()


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        (3, "a list of a dict for each optimizer"),
        (["count"], "a list of a dict for each optimizer"),
        ([{"noise": torch.zeros(3)}], "Counts cannot load it"),
    ],
)
def test_damaged_attributes_are_refused_and_change_nothing(attributes, said):
    _, wrapper = build(CONFIGS["counts"])
    before = copy.deepcopy(wrapper.state_dict())
    with pytest.raises(CheckpointError, match=said):
        wrapper.load_state_dict({**before, "attributes": attributes})
    assert wrapper.state_dict().keys() == before.keys()
    assert wrapper.optimizer.count == 0


def test_a_state_replaces_no_method_and_nothing_that_is_no_value():
    _, wrapper = build(CONFIGS["counts"])
    wrapper.optimizer.callback = print
    wrapper.load_state_dict({**wrapper.state_dict(), "attributes": [{"step": 1, "callback": 2, "state": {}, "new": 4}]})
    assert callable(wrapper.optimizer.step)
    assert wrapper.optimizer.callback is print
    assert wrapper.optimizer.new == 4


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
def test_copies_save_them_too(copied, tmp_path):
    model, wrapper = build(CONFIGS["parameter"])
    train(model, wrapper, range(2))
    twins = copied((model, wrapper))
    for each in ((model, wrapper), twins):
        train(*each, range(2, 3))
        save(*each, tmp_path / "state.pt")
        train(*each, range(3, 6))
        assert torch.equal(resume(*build(CONFIGS["parameter"]), tmp_path / "state.pt"), each[0].weight)


def test_a_bare_optimizer_by_which_no_run_resumes_is_told(monkeypatch):
    from optimzoo.names.facts import unpacked
    from optimzoo.optimizers import heeded

    facts = {
        "version": "",
        "torch": "2.13.0",
        "date": "",
        "facts": {"resume": ["fault", "attributes", "lost is count"]},
    }
    monkeypatch.setattr(heeded, "stored_facts", lambda cls: unpacked(facts) if cls is Counts else None)
    with pytest.warns(UserWarning, match=r"Counts: its own state does not resume it \(that of a wrapper does"):
        build_optimizer(torch.nn.Linear(2, 1), dict(type=Counts))


class Aliases(torch.optim.SGD):
    """Steps views of its parameters, and holds one tensor twice, a part of a large one, and itself."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)
        self.views = [p.detach() for group in self.param_groups for p in group["params"]]
        self.count = torch.zeros(1)
        self.again, self.last = [self.count], torch.zeros(100_000)[:1]
        self.whole = {"it": 0}
        self.whole["whole"] = self.whole

    @torch.no_grad()
    def step(self, closure=None):
        self.count.data.add_(1)
        self.last = torch.full((100_000,), float(self.again[0]))[:1]
        for view, p in zip(self.views, self.param_groups[0]["params"]):
            view.sub_(p.grad * (0.1 + self.last) / self.again[0])


def test_what_shows_memory_of_parameters_or_of_others_goes_on_showing_it(tmp_path):
    model, wrapper = build(dict(type=Aliases))
    train(model, wrapper, range(3))
    save(model, wrapper, tmp_path / "state.pt")
    train(model, wrapper, range(3, 6))
    assert wrapper.state_dict()["attributes"][0].keys() == {"count", "again", "last"}
    assert (tmp_path / "state.pt").stat().st_size < 20_000
    other, fresh = build(dict(type=Aliases))
    assert torch.equal(resume(other, fresh, tmp_path / "state.pt"), model.weight)
    assert fresh.optimizer.again[0] is fresh.optimizer.count


class Shares(torch.optim.SGD):
    """Holds one tensor under several names until steps part them, and two in one after the first step."""

    STEPS = 0

    def __init__(self, params, lr=0.1, start=None, own=0):
        super().__init__(params, lr=lr)
        self.start = self.last = torch.zeros(()) if start is None else start
        self.window, self.own, self.clip = [self.start] * 3, own, 1.0
        self.sparse, self.mask = torch.eye(2).to_sparse(), torch.full((5000,), float(own))

    @torch.no_grad()
    def step(self, closure=None):
        self.STEPS += 1
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + 1
            for p in group["params"]:
                self.last = p.grad.norm() + self.start
                self.window = [*self.window[1:], self.last]
                p.sub_(group["lr"] / (self.STEPS + group["step"]) * p.grad * (1 + sum(self.window)))

    def state_dict(self):
        return {**super().state_dict(), "own": self.own}

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        self.own = state_dict["own"]


def test_tensors_that_are_one_at_first_are_not_written_to(tmp_path):
    start = torch.ones(())
    model, wrapper = build(dict(type=Shares))
    wrapper = OptimWrapper(Shares(model.parameters(), start=start, own=3))
    train(model, wrapper, range(3))
    save(model, wrapper, tmp_path / "state.pt")
    train(model, wrapper, range(3, 6))
    other, _ = build(dict(type=Shares))
    fresh = OptimWrapper(Shares(other.parameters(), start=start))
    fresh.optimizer.clip = 0.5
    assert torch.equal(resume(other, fresh, tmp_path / "state.pt"), model.weight)
    assert fresh.optimizer.window[-1] is fresh.optimizer.last
    assert (float(start), fresh.optimizer.own, fresh.optimizer.clip) == (1, 3, 0.5)
    assert float(fresh.optimizer.mask[0]) == 0  # an argument, which no step has changed


class BeginsAsNumbers(torch.optim.SGD):
    """Its averages are 0 until there are gradients."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)
        self.mean, self.means, self.large = 0.0, [0, 0], torch.zeros(3, 3000)[:, ::2]

    @torch.no_grad()
    def step(self, closure=None):
        self.large += 1
        for place, p in enumerate(self.param_groups[0]["params"]):
            self.means[place] = 0.9 * self.means[place] + p.grad
            self.mean = 0.9 * self.mean + p.grad.mean(-1)
            p.sub_(0.1 * self.means[place] + 0.01 * self.mean.sum() * self.large[0, 0])


def test_numbers_that_become_tensors_are_saved(tmp_path):
    model, wrapper = build(dict(type=BeginsAsNumbers))
    train(model, wrapper, range(3))
    save(model, wrapper, tmp_path / "state.pt")
    train(model, wrapper, range(3, 6))
    assert torch.equal(resume(*build(dict(type=BeginsAsNumbers)), tmp_path / "state.pt"), model.weight)


def test_a_large_view_that_no_step_writes_to_is_left_as_it_is():
    _, wrapper = build(dict(type=BeginsAsNumbers))
    assert wrapper.state_dict()["attributes"] == [{}]
    wrapper.optimizer.large.add_(1)
    assert wrapper.state_dict()["attributes"][0].keys() == {"large"}


@pytest.mark.parametrize("cls", [Counts, Shares, Aliases, "Lamb"])
def test_a_run_that_went_back_to_its_start_moves_as_at_first(cls):
    model, wrapper = build(dict(type=cls))
    begin = copy.deepcopy([model.state_dict(), wrapper.state_dict()])
    ends = []
    for _ in range(2):
        model.load_state_dict(begin[0])
        wrapper.load_state_dict(copy.deepcopy(begin[1]))
        train(model, wrapper, range(5))
        ends.append(model.weight.detach().clone())
    assert torch.equal(*ends)


class StepsAnother(torch.optim.SGD):
    """Hands its updates to an optimizer inside it."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)
        self.inner = Counts(self.param_groups)

    def step(self, closure=None):
        return self.inner.step(closure)


def test_an_optimizer_inside_another_keeps_its_attributes(tmp_path):
    model, wrapper = build(dict(type=StepsAnother))
    train(model, wrapper, range(3))
    save(model, wrapper, tmp_path / "state.pt")
    train(model, wrapper, range(3, 6))
    assert torch.equal(resume(*build(dict(type=StepsAnother)), tmp_path / "state.pt"), model.weight)


def test_a_load_that_fails_later_leaves_attributes_as_they_are():
    model, wrapper = build(CONFIGS["counts"])
    train(model, wrapper, range(2))
    _, other = build(CONFIGS["counts"])
    total, noise = other.optimizer.total, other.optimizer.noise.get_state()
    with pytest.raises(CheckpointError):
        other.load_state_dict({**wrapper.state_dict(), "counts": 3})
    assert other.optimizer.total is total
    assert total.tolist() == [0, 0]
    assert torch.equal(other.optimizer.noise.get_state(), noise)
