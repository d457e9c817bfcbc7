"""What some optimizers need beyond step(): two passes, an optimizer inside, the loss; and what is refused."""

import io
from contextlib import nullcontext

import pytest
import pytorch_optimizer
import torch
from torch import nn

from optimzoo import OPTIMIZERS, Runner, build_optim_wrapper
from optimzoo.errors import ConfigError, OptimzooError

SGD = dict(type="SGD", lr=0.1, momentum=0.9)
SAM = dict(type="SAM", rho=0.1, base_optimizer=SGD)


class Regression(nn.Sequential):
    def __init__(self):
        torch.manual_seed(0)
        super().__init__(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
        self.x, self.y = torch.randn(32, 4), torch.randn(32, 1)

    def loss(self, part=slice(None)):
        return (self(self.x[part]) - self.y[part]).square().mean()

    def closure(self, owner, context=nullcontext):
        def closure():
            owner.zero_grad()
            with context():
                loss = self.loss()
            loss.backward()
            return loss

        return closure


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


class TestSAM:
    @pytest.mark.parametrize("max_norm", [None, 0.1])
    def test_its_two_passes_are_those_of_the_library_by_hand(self, max_norm):
        ours, theirs = Regression(), Regression()
        clip = {} if max_norm is None else dict(clip_grad=dict(max_norm=max_norm))
        wrapper = build_optim_wrapper(ours, dict(optimizer=SAM, **clip))
        optimizer = pytorch_optimizer.SAM(theirs.parameters(), torch.optim.SGD, rho=0.1, lr=0.1, momentum=0.9)
        evaluate = theirs.closure(optimizer)

        def clipped():
            loss = evaluate()
            if max_norm is not None:
                nn.utils.clip_grad_norm_(theirs.parameters(), max_norm)
            return loss

        for _ in range(4):
            wrapper.step(closure=ours.closure(wrapper))
            clipped()
            optimizer.step(clipped)
        assert same(ours, theirs)

    def test_it_resumes_bit_by_bit(self):
        first, second = Regression(), Regression()
        wrapper, resumed = (build_optim_wrapper(each, dict(optimizer=SAM)) for each in (first, second))
        for _ in range(3):
            wrapper.step(closure=first.closure(wrapper))
        torch.save(wrapper.state_dict(), file := io.BytesIO())
        file.seek(0)
        second.load_state_dict(first.state_dict())
        resumed.load_state_dict(torch.load(file, weights_only=True))
        for each, own in ((first, wrapper), (second, resumed)):
            for _ in range(3):
                own.step(closure=each.closure(own))
        assert same(first, second)

    def test_the_runner_makes_both_passes(self, tmp_path):
        model, calls = Regression(), []

        def loss(model, batch):
            calls.append(batch)
            return model.loss()

        Runner(
            model=model,
            loss=loss,
            train_dataloader=[0, 1, 2],
            train_cfg=dict(max_iters=3, by_epoch=False),
            optim_wrapper=dict(optimizer=SAM),
            work_dir=tmp_path,
        ).train()
        assert [int(batch) for batch in calls] == [0, 0, 1, 1, 2, 2]

    def test_bfloat16_works_and_scaling_is_refused(self):
        model = Regression()
        wrapper = build_optim_wrapper(model, dict(type="AmpOptimWrapper", dtype="bfloat16", optimizer=SAM))
        before = model.loss().item()
        for _ in range(5):
            wrapper.step(closure=model.closure(wrapper, lambda: wrapper.optim_context(model)))
        assert model.loss().item() < before
        scaled = build_optim_wrapper(model, dict(type="AmpOptimWrapper", dtype="float16", optimizer=SAM))
        with pytest.raises(OptimzooError, match="cannot scale it"):
            scaled.step(closure=model.closure(scaled))

    def test_the_other_ways_to_step_are_refused(self):
        model = Regression()
        with pytest.raises(OptimzooError, match=r"call wrapper\.step\(closure=closure\)"):
            build_optim_wrapper(model, dict(optimizer=SAM)).update_params(model.loss())
        with pytest.raises(ConfigError, match="cannot accumulate"):
            build_optim_wrapper(model, dict(optimizer=SAM, accumulative_counts=2))


class TestAnOptimizerInside:
    @pytest.mark.parametrize("outer", [SAM, dict(type="OrthoGrad", optimizer=SGD)])
    def test_rules_multiply_its_learning_rate(self, outer):
        cfg = dict(optimizer=outer, paramwise_cfg=dict(bias_lr_mult=2.0))
        assert build_optim_wrapper(Regression(), cfg).get_lr() == {"base_lr": [0.1], "lr": [0.1, 0.2]}

    @pytest.mark.parametrize(
        ("optimizer", "path", "message"),
        [
            (dict(type="SAM"), "base_optimizer", "SAM goes around another optimizer"),
            (dict(type="SAM", base_optimizer="SGD"), "base_optimizer", "goes around another optimizer"),
            (dict(SAM, base_optimizer=dict(SGD, type="SGDD")), "base_optimizer.type", "Did you mean 'SGD'"),
            (dict(SAM, base_optimizer=dict(SGD, momentm=0.9)), "base_optimizer.momentm", "Did you mean 'momentum'"),
            (dict(SAM, lr=0.1), "lr", "It belongs in 'base_optimizer'"),
            (dict(SAM, roh=0.1), "roh", "Did you mean 'rho'"),
            (dict(SAM, base_optimizer=SAM), "base_optimizer.type", "SAM cannot go into SAM, .* at two points"),
            (dict(SAM, base_optimizer=dict(type="LBFGS")), "base_optimizer.type", "LBFGS cannot go into SAM"),
            (dict(SAM, base_optimizer=dict(SGD, rest=SGD)), "base_optimizer.type", "Parts cannot .* made of several"),
            (dict(type="OrthoGrad", optimizer=SAM), "optimizer.type", "SAM cannot go into OrthoGrad"),
            (dict(type="OrthoGrad"), "optimizer", "goes around another optimizer"),
            (dict(type="OrthoGrad", optimizer=dict(type="AdmW", lr=1)), "optimizer.type", "Did you mean"),
            (dict(type="OrthoGrad", optimizer=dict(SGD, lr=-1)), "optimizer.lr", "at least 0"),
        ],
    )
    def test_a_mistake_in_it_is_named_with_its_place(self, optimizer, path, message):
        with pytest.raises(ConfigError, match=message) as caught:
            build_optim_wrapper(Regression(), dict(optimizer=optimizer))
        assert caught.value.path == f"optim_wrapper.optimizer.{path}"


@pytest.mark.parametrize("counts", [1, 2, 4])
def test_an_optimizer_that_takes_the_loss_gets_the_mean_of_the_window(counts):
    ours, theirs = Regression(), Regression()
    wrapper = build_optim_wrapper(ours, dict(optimizer=dict(type="AliG", max_lr=0.1), accumulative_counts=counts))
    optimizer = pytorch_optimizer.AliG(theirs.parameters(), max_lr=0.1)
    for _ in range(4):
        for part in range(counts):
            wrapper.update_params(ours.loss(slice(part * 32 // counts, (part + 1) * 32 // counts)))
        loss = theirs.closure(optimizer)()
        optimizer.step(lambda loss=loss: float(loss))
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("name", "is_whole"), [("AdaBelief", False), ("AdamAtan2", False), ("SOAP", True)])
def test_what_was_measured_to_train_on_shares_does_not_need_whole_parameters(name, is_whole):
    assert ("whole" in OPTIMIZERS.entry(name).needs) is is_whole


class TestFaults:
    @pytest.mark.parametrize(
        ("name", "reason"),
        [("torch_optimizer.SGDW", "subtracts the number lr"), ("BSAM", "never comes back")],
    )
    def test_what_harms_in_silence_is_listed_and_refused(self, name, reason):
        assert name in list(OPTIMIZERS)
        with pytest.raises(ConfigError, match=f"computes something else than its name says.*{reason}") as caught:
            build_optim_wrapper(Regression(), dict(optimizer=dict(type=name, lr=0.1)))
        assert caught.value.path == "optim_wrapper.optimizer.type"

    def test_sgdw_of_torch_optimizer_moves_zeros_without_gradients(self):
        import torch_optimizer

        zero = nn.Parameter(torch.zeros(1))
        zero.grad = torch.zeros(1)
        torch_optimizer.SGDW([zero], lr=0.1, weight_decay=0.5).step()
        assert zero.item() == pytest.approx(-0.05)

    def test_bsam_climbs_at_a_learning_rate_of_0(self):
        model = Regression()
        optimizer = pytorch_optimizer.BSAM(model.parameters(), num_data=50000, lr=0.0)
        before, closure = model.loss().item(), model.closure(optimizer)
        for _ in range(30):
            closure()
            optimizer.step(closure)
        assert model.loss().item() > 5 * before
