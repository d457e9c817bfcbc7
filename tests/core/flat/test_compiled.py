"""A compiled flat step: its operations are those of the optimizer, and compiling changes the last digits at most."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from optimzoo import OptimWrapper, build_optim_wrapper
from optimzoo.errors import ConfigError, OptimzooError, OptimzooWarning
from tests.core.flat.plays import CLIP, OPTIMIZERS, PLAYS, assert_alike, assert_same, plain, play, scheduled

REFUSED = ("bitsandbytes.Adam", "bitsandbytes.RMSprop", "madgrad.MADGRAD")
BETAS = dict(betas=(0.9, 0.99))  # a second one of 0.999 is rounded away in bfloat16
HALF = dict(BETAS, eps=1e-4)  # nor is 1e-8 a number in float16
UNFUSED = dict(type="AdamW", weight_decay=0.1, fused=False)


def named(cfg):
    return "-".join(map(str, cfg.values())) if isinstance(cfg, dict) else getattr(cfg, "__name__", str(cfg))


@pytest.fixture
def noted(monkeypatch):
    """Run what is noted of a step operation by operation, in place of compiling it; return what was noted."""
    graphs = []
    monkeypatch.setattr(torch, "compile", lambda graph, **_: graphs.append(graph) or graph)
    return graphs


@pytest.mark.parametrize("optimizer", [o for o in OPTIMIZERS if o["type"] not in REFUSED], ids=named)
def test_what_is_noted_of_many_optimizers_is_what_they_do(optimizer, noted):
    pytest.importorskip("torch" if "." not in optimizer["type"] else optimizer["type"].partition(".")[0])
    assert_alike(optimizer, scheduled, CLIP, 60, compiled=True)
    fused = optimizer["type"] in ("Adam", "AdamW", "Adagrad") and not optimizer.get("foreach")
    assert len(noted) == (0 if fused else 2 if optimizer["type"] == "RAdam" else 1)  # not one for each learning rate


@pytest.mark.parametrize(("how", "settings"), PLAYS, ids=named)
@pytest.mark.parametrize("optimizer", [UNFUSED, dict(type="Lion", lr=1e-3)], ids=named)
def test_whatever_happens_between_updates_what_is_noted_is_the_same(how, settings, optimizer, noted):
    assert_alike(optimizer, how, settings, 30, compiled=True)
    assert noted


def stepped_in(dtype, steps, settings):
    """Return the weights, in float64, after steps by gradients that are the same in all dtypes."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64)).bfloat16().to(dtype)
    wrapper = build_optim_wrapper(model, settings)
    for i in range(steps):
        for n, parameter in enumerate(model.parameters()):
            generator = torch.Generator().manual_seed(10 * i + n)
            parameter.grad = torch.randn(parameter.shape, generator=generator).bfloat16().to(dtype)
        wrapper.step()
    return torch.cat([parameter.detach().double().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "optimizer", [dict(UNFUSED, **HALF), *(dict(type=t, **HALF) for t in ("NAdam", "RAdam", "Adamax"))], ids=named
)
def test_what_is_noted_in_half_precision_is_the_same(optimizer, dtype, noted):
    plain = stepped_in(dtype, 20, dict(optimizer=optimizer))
    assert torch.equal(plain, stepped_in(dtype, 20, dict(optimizer=optimizer, flatten=True, compile=True)))
    assert noted


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method")
def test_a_compiled_step_in_half_precision_is_nearer_to_the_exact_one():
    optimizer = dict(type="NAdam", lr=0.01, **BETAS)
    exact = stepped_in(torch.float64, 60, dict(optimizer=optimizer))
    plain = stepped_in(torch.bfloat16, 60, dict(optimizer=optimizer))
    compiled = stepped_in(torch.bfloat16, 60, dict(optimizer=optimizer, flatten=True, compile=True))
    assert not torch.equal(plain, compiled)
    assert (compiled - exact).abs().mean() < (plain - exact).abs().mean() < 0.002


COMPILED = [
    UNFUSED,
    dict(type="NAdam"),
    dict(type="Lion", lr=1e-3, weight_decay=0.1),
    dict(type="pytorch_optimizer.AdaBelief"),
    dict(type="optimi.Adan", lr=1e-3),
]


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method")
@pytest.mark.parametrize("optimizer", COMPILED, ids=named)
def test_a_compiled_step_differs_in_the_last_digits_at_most_and_is_compiled_once(optimizer, monkeypatch):
    pytest.importorskip("torch" if "." not in optimizer["type"] else optimizer["type"].partition(".")[0])
    compiled = []
    of_torch = torch.compile
    monkeypatch.setattr(torch, "compile", lambda graph, **k: compiled.append(graph) or of_torch(graph, **k))

    def step(models, wrappers, i):
        for model, wrapper in zip(models, wrappers):
            for group in wrapper.optimizer.param_groups:
                group["lr"] = 1e-3 * (1 + i % 7)
                group["weight_decay"] = 0.01 * (1 + i // 50)
            for n, parameter in enumerate(model.parameters()):
                generator = torch.Generator().manual_seed(1000 * i + n)
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            wrapper.step()

    models = [nn.Sequential(nn.Linear(32, 32), nn.LayerNorm(32), nn.Linear(32, 7))]
    models.append(copy.deepcopy(models[0]))
    build = [dict(optimizer=optimizer), dict(optimizer=optimizer, flatten=True, compile=True)]
    wrappers = [build_optim_wrapper(model, cfg) for model, cfg in zip(models, build)]
    for i in range(200):
        step(models, wrappers, i)
    for one, other in zip(models[0].parameters(), models[1].parameters()):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6 * float(one.detach().abs().max()))
    assert len(compiled) == 1


def test_a_run_goes_on_uncompiled_from_a_compiled_one_and_back(noted):
    file = io.BytesIO()
    model, wrapper, _ = play(UNFUSED, scheduled, dict(compile=True), True, 10)
    torch.save(wrapper.state_dict(), file)
    file.seek(0)
    other, second, _ = play(UNFUSED, plain, {}, False, 1)
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    second.load_state_dict(torch.load(file))
    for i in range(10, 20):
        scheduled(model, wrapper, i)
        scheduled(other, second, i)
    wrapper.load_state_dict(copy.deepcopy(second.state_dict()))
    for i in range(20, 30):
        scheduled(model, wrapper, i)
        scheduled(other, second, i)
    assert_same(model.state_dict(), other.state_dict())
    assert_same(wrapper.state_dict(), second.state_dict())


def test_a_copy_goes_on_as_it_does(noted):
    model, wrapper, _ = play(UNFUSED, scheduled, dict(compile=True), True, 10)
    ends = []
    for each, of_model in [
        copy.deepcopy((wrapper, model)),
        pickle.loads(pickle.dumps((wrapper, model))),
        (wrapper, model),
    ]:
        for i in range(10, 20):
            scheduled(of_model, each, i)
        ends.append((of_model, each))
    for of_model, each in ends:
        assert_same(model.state_dict(), of_model.state_dict())
        assert_same(wrapper.state_dict(), each.state_dict())


class Tried(torch.optim.SGD):
    """Steps as SGD, and then does what a subclass adds."""

    armed = False  # not in a trial
    after = 0

    def add(self, params):
        pass

    @torch.no_grad()
    def step(self, closure=None):
        super().step(closure)
        self.after += self.armed
        self.add([p for p in self.param_groups[0]["params"] if p.grad is not None])


class Reads(Tried):
    def add(self, params):
        for p in params:
            p.mul_(1 - 1e-9 * float(p.abs().amax()))


class Draws(Tried):
    def add(self, params):
        for p in params:
            p.add_(torch.zeros_like(p).bernoulli_(0.5), alpha=0)


class Replaces(Tried):
    def add(self, params):
        for p in params:
            p.data = p * 0.5


class Keeps(Tried):
    def add(self, params):
        self.kept = [p * 1 for p in params]


class Numpy(Tried):
    def add(self, params):
        for p in params:
            p.mul_(0.5)
            p.detach().numpy()[:] *= 0.5
            p.add_(1.0)


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (Reads, "Reads reads numbers of tensors"),
        (Draws, "Draws draws random numbers"),
        (Replaces, "puts other tensors in the place of parameters"),
        (Keeps, "Keeps keeps tensors elsewhere than in its state"),
        (Numpy, "a copy of Numpy fails in a trial on buffers"),
    ],
)
def test_a_step_that_cannot_be_compiled_is_refused_with_the_reason(cls, why):
    model = nn.Linear(64, 64)
    with pytest.raises(ConfigError, match=why) as raised:
        OptimWrapper(cls(model.parameters(), lr=0.1), flatten=True, compile=True)
    assert raised.value.path == "compile"
    OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), flatten=True, compile=True)
    assert torch.equal(torch.ones(3) * 2, torch.full((3,), 2.0))  # and nothing is noted any more


class FailsLater(Tried):
    def add(self, params):
        if self.after == 6:
            raise ArithmeticError("at the sixth step")
        for p in params:
            p.mul_(0.5)


class ReadsLater(Tried):
    def add(self, params):
        for p in params:
            p.mul_(0.5 if self.after < 6 else 1 - 0.5 * float(p.isfinite().all()))


def built(cls, flat):
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(64, 64) for _ in range(3)))
    optimizer = cls(model.parameters(), lr=0.1)
    wrapper = OptimWrapper(optimizer, flatten=flat, compile=flat)
    optimizer.armed = True
    return model, optimizer, wrapper


def steps(cls, flat):
    model, _, wrapper = built(cls, flat)
    for i in range(9):
        x = torch.full((2, 64), i / 9)
        try:
            wrapper.update_params(model(x).square().mean())
        except ArithmeticError:
            wrapper.zero_grad()
    return model.state_dict()


def test_a_step_that_fails_has_done_what_it_did_before(noted):
    assert_same(steps(FailsLater, False), steps(FailsLater, True))


class KeepsNow(Tried):
    """Keeps one or another result of the same operations, or none, in its state."""

    def add(self, params):
        for p in params:
            half, double = p * 0.5, p * 2
            kept = {0: half, 1: double}.get(self.after % 4)
            if kept is not None:
                self.state[p]["kept"] = kept
            p.sub_(half + double, alpha=0.01)


def test_what_a_step_keeps_may_change_though_its_operations_do_not(noted):
    def ends(flat):
        model, optimizer, wrapper = built(KeepsNow, flat)
        for i in range(14):
            wrapper.update_params(model(torch.full((2, 64), i / 9)).square().mean())
        return model.state_dict(), optimizer.state_dict()

    (plainly, kept), (flatly, compiled) = ends(False), ends(True)
    assert_same(plainly, flatly)
    assert_same(kept["state"], compiled["state"])
    assert noted


class KeepsLater(Tried):
    def add(self, params):
        half = [p * 0.5 for p in params]
        if self.after == 6:
            self.hand_over(params, half)


class KeepsElsewhereLater(KeepsLater):
    def hand_over(self, params, half):
        self.kept = half


class KeepsGradientsLater(KeepsLater):
    def hand_over(self, params, half):
        for p, grad in zip(params, half):
            p.grad = grad


@pytest.mark.parametrize("cls", [KeepsElsewhereLater, KeepsGradientsLater])
def test_what_is_kept_elsewhere_only_later_is_an_error_that_says_so(cls, noted):
    with pytest.raises(OptimzooError, match="keeps tensors elsewhere than in its state: leave compile out"):
        steps(cls, True)


def test_a_step_that_turns_out_not_to_be_compilable_goes_on_as_it_is_and_says_so(noted):
    plainly = steps(ReadsLater, False)
    with pytest.warns(OptimzooWarning, match="ReadsLater reads numbers of tensors.* goes on uncompiled"):
        assert_same(plainly, steps(ReadsLater, True))


def test_a_compiler_that_fails_costs_no_step(monkeypatch):
    def fail(*_, **__):
        raise ValueError("no such target")

    plainly = steps(FailsLater, False)
    monkeypatch.setattr(torch, "compile", fail)
    with pytest.warns(OptimzooWarning, match="cannot be compiled: .*ValueError: no such target: it goes on uncompiled"):
        assert_same(plainly, steps(FailsLater, True))


def test_a_compiler_that_fails_when_it_has_to_compile_anew_costs_no_step(monkeypatch):
    def compiled(graph, **_):
        calls = []

        def run(*args):
            calls.append(args)
            if len(calls) == 4:
                raise torch._dynamo.exc.FailOnRecompileLimitHit("too often")
            return graph(*args)

        return run

    plainly = steps(Tried, False)
    monkeypatch.setattr(torch, "compile", compiled)
    with pytest.warns(OptimzooWarning, match="Tried cannot be compiled: .*too often: it goes on uncompiled"):
        assert_same(plainly, steps(Tried, True))


def test_what_is_missing_for_it_is_said(monkeypatch):
    model = nn.Linear(64, 64)
    with pytest.raises(ConfigError, match="set flatten = true beside it") as raised:
        build_optim_wrapper(model, dict(optimizer=dict(type="NAdam"), compile=True))
    assert raised.value.path == "optim_wrapper.compile"

    def missing():
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", missing)
    with pytest.raises(ConfigError, match="finds none: install g"):
        build_optim_wrapper(model, dict(optimizer=dict(type="NAdam"), flatten=True, compile=True))
