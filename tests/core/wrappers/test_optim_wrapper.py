import copy
import warnings

import pytest
import torch
from torch import nn

from optimzoo import OptimWrapper, StepOutcome, build_optim_wrapper
from optimzoo.errors import ConfigError, NonFiniteError, OptimzooError, OptimzooWarning


@pytest.fixture
def linear():
    model = nn.Linear(2, 1, bias=False)
    nn.init.ones_(model.weight)
    return model


def sgd(model, lr=0.1, **kwargs):
    return OptimWrapper(torch.optim.SGD(model.named_parameters(), lr=lr), **kwargs)


def batches(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(3, 2, generator=generator) for _ in range(count)]


class TestUpdate:
    def test_it_equals_the_loop_written_by_hand(self, linear):
        twin = copy.deepcopy(linear)
        wrapper = sgd(linear, clip_grad=dict(max_norm=0.5))
        optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
        for x in batches(5):
            assert wrapper.update_params(linear(x).square().mean()) is StepOutcome.UPDATED
            twin(x).square().mean().backward()
            nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()
        assert torch.equal(linear.weight, twin.weight)
        assert (wrapper.update_count, wrapper.inner_count) == (5, 5)

    def test_gradients_are_cleared_after_an_update_and_only_then(self, linear):
        wrapper = sgd(linear, accumulative_counts=2)
        wrapper.update_params(linear(torch.ones(1, 2)).sum())
        assert linear.weight.grad is not None
        wrapper.update_params(linear(torch.ones(1, 2)).sum())
        assert linear.weight.grad is None

    def test_keyword_arguments_reach_the_optimizer(self, linear):
        wrapper = sgd(linear)
        wrapper.update_params(linear(torch.ones(1, 2)).sum(), zero_kwargs=dict(set_to_none=False))
        assert linear.weight.grad.tolist() == [[0.0, 0.0]]

    @pytest.mark.parametrize(
        ("loss", "said"),
        [
            (None, "a tensor that the model computed, got None"),
            (1.0, "a tensor that the model computed, got 1.0"),
            (torch.tensor(1.0), "does not depend on a parameter"),
            (torch.ones(3, requires_grad=True) * 2, r"the shape \(3,\); take its mean"),
        ],
    )
    @pytest.mark.parametrize("kwargs", [{}, dict(accumulative_counts=2)])
    def test_a_loss_that_is_none_is_explained(self, loss, said, kwargs, linear):
        wrapper = sgd(linear, **kwargs)
        with pytest.raises(OptimzooError, match=said):
            wrapper.update_params(loss)
        assert wrapper.inner_count == 0

    def test_an_error_of_the_backward_pass_itself_comes_through(self, linear):
        def hook(grad):
            raise ZeroDivisionError("of a hook")

        loss = linear(torch.ones(1, 2)).square().sum()
        linear.weight.register_hook(hook)
        with pytest.raises(ZeroDivisionError, match="of a hook"):
            sgd(linear).update_params(loss)

    def test_a_loss_that_was_back_propagated_before_is_told(self, linear):
        loss = linear(torch.ones(1, 2)).square().sum()
        torch.autograd.grad(loss, linear.weight)
        with pytest.raises(OptimzooError, match="update_params does that itself"):
            sgd(linear).update_params(loss)

    def test_a_step_by_hand_before_its_window_is_full_is_told(self, linear):
        wrapper = sgd(linear, accumulative_counts=2)
        wrapper.backward(linear(torch.ones(1, 2)).sum())
        with pytest.warns(OptimzooWarning, match="step.. updates by what is there, though accumulative_counts is 2"):
            wrapper.step()
        wrapper.zero_grad()
        wrapper.initialize_count_status(linear, 0, 4)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(4):
                wrapper.backward(wrapper.scale_loss(linear(torch.ones(1, 2)).sum()))
                if wrapper.should_update():
                    wrapper.step()
                    wrapper.zero_grad()

    def test_a_step_of_a_subclass_counts_though_it_reports_nothing(self, linear):
        class Own(OptimWrapper):
            def step(self, **kwargs):
                if self.clip_grad_kwargs:
                    self._clip_grad()
                self.optimizer.step(**kwargs)

        wrapper = Own(torch.optim.SGD(linear.parameters(), lr=0.1), clip_grad=dict(max_norm=1.0))
        assert wrapper.update_params(linear(torch.ones(1, 2)).sum()) is StepOutcome.UPDATED
        assert (wrapper.update_count, wrapper.grad_norm) == (1, pytest.approx(2**0.5))

    def test_any_model_may_be_in_the_context(self, linear):
        wrapper = sgd(linear, accumulative_counts=2)
        for model in (torch.optim.swa_utils.AveragedModel(linear), torch.compile(linear, backend="eager")):
            with wrapper.optim_context(model):
                assert model(torch.ones(1, 2)).item() == 2.0


@pytest.mark.parametrize("cfg", [dict(momentum=0.9), dict(momentum=0.9, nesterov=True, weight_decay=0.1), {}])
@pytest.mark.parametrize("wrapper", [{}, dict(type="AmpOptimWrapper", dtype="float16", loss_scale=64.0)])
def test_a_layer_whose_first_gradient_comes_late_trains_as_by_hand(cfg, wrapper):
    models = [nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    updated = build_optim_wrapper(models[0], dict(optimizer=dict(type="SGD", lr=0.1, **cfg), **wrapper))
    optimizer = torch.optim.SGD(models[1].parameters(), lr=0.1, **cfg)
    for number, x in enumerate(batches(5)):
        for model in models:
            model[0].requires_grad_(number > 1)
        updated.update_params(models[0](x).square().mean())
        models[1](x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    for mine, theirs in zip(*(model.parameters() for model in models)):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-6)


class TestClipping:
    def test_by_norm_the_norm_before_it_can_be_read(self, linear):
        wrapper = sgd(linear, lr=1.0, clip_grad=dict(max_norm=1.0, norm_type=1))
        assert wrapper.grad_norm is None
        wrapper.update_params(linear(torch.tensor([[3.0, 1.0]])).sum())
        assert wrapper.grad_norm == 4.0
        assert torch.allclose(linear.weight, torch.tensor([[1 - 0.75, 1 - 0.25]]))

    @pytest.mark.parametrize(
        ("norm_type", "norm"), [("inf", 4.0), (float("inf"), 4.0), (1, 7.0), (2.0, 5.0), (3, 4.498)]
    )
    def test_by_any_norm(self, norm_type, norm, linear):
        wrapper = sgd(linear, lr=1.0, clip_grad=dict(max_norm=1.0, norm_type=norm_type))
        wrapper.update_params(linear(torch.tensor([[3.0, 4.0]])).sum())
        assert wrapper.grad_norm == pytest.approx(norm, rel=1e-3)
        assert torch.allclose(1 - linear.weight, torch.tensor([[3.0, 4.0]]) / norm, rtol=1e-3)

    @pytest.mark.parametrize("clip_grad", [dict(max_norm=1.0), dict(type="value", clip_value=0.5)])
    @pytest.mark.parametrize("nonfinite", ["ignore", "skip"])
    def test_of_sparse_gradients_the_values_count(self, clip_grad, nonfinite):
        models = []
        for sparse in (True, False):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Embedding(5, 2, sparse=sparse), nn.Linear(2, 1))
            wrapper = sgd(model, clip_grad=clip_grad, nonfinite=nonfinite)
            for _ in range(2):
                wrapper.update_params(model(torch.tensor([1, 3, 1])).square().sum() * 9)
            models.append((model, wrapper.grad_norm))
        (mine, norm), (dense, dense_norm) = models
        assert norm == pytest.approx(dense_norm)
        for ours, theirs in zip(mine.parameters(), dense.parameters()):
            assert torch.allclose(ours, theirs)

    def test_a_norm_that_is_not_finite_may_be_an_error(self, linear):
        wrapper = sgd(linear, clip_grad=dict(max_norm=1.0, error_if_nonfinite=True))
        with pytest.raises(NonFiniteError, match="the gradient of 'weight' is not finite in update 1"):
            wrapper.update_params(linear(torch.full((1, 2), torch.inf)).sum())

    @pytest.mark.parametrize("clip_grad", [dict(type="value", clip_value=0.5), dict(clip_value=0.5)])
    def test_by_value(self, clip_grad, linear):
        wrapper = sgd(linear, lr=1.0, clip_grad=clip_grad)
        wrapper.update_params(linear(torch.tensor([[3.0, 0.25]])).sum())
        assert linear.weight.tolist() == [[0.5, 0.75]]

    def test_parameters_without_a_gradient_are_left_out(self):
        model = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])
        wrapper = sgd(model, clip_grad=dict(max_norm=1.0))
        assert wrapper.update_params(model[0](torch.ones(1, 1)).sum()) is StepOutcome.UPDATED

    @pytest.mark.parametrize(
        ("clip_grad", "path", "said"),
        [
            ("norm", "clip_grad", "a dict such as"),
            (dict(type="nrom", max_norm=1), "clip_grad.type", "Did you mean 'norm'"),
            (dict(type="norm"), "clip_grad.max_norm", "needs a value"),
            (dict(type="value", max_norm=1), "clip_grad.max_norm", "has no argument"),
            (dict(max_norm=1, clip_value=1), "clip_grad.clip_value", "has no argument"),
            (dict(max_norm=-1), "clip_grad.max_norm", "at least 0"),
            (dict(max_norm=float("nan")), "clip_grad.max_norm", "at least 0"),
            (dict(max_norm=1, norm_type=0), "clip_grad.norm_type", "at least 1e-30"),
            (dict(max_norm=1, norm_type=-2), "clip_grad.norm_type", "at least 1e-30"),
            (dict(clip_value=-1), "clip_grad.clip_value", "at least 0"),
        ],
    )
    def test_a_mistake_is_named_with_its_place(self, clip_grad, path, said, linear):
        with pytest.raises(ConfigError) as caught:
            sgd(linear, clip_grad=clip_grad)
        problem = next(p for p in caught.value.problems if p.path == path)
        assert said in str(problem)


class TestNonFiniteGradients:
    def poisoned(self, model):
        return model[1](torch.full((1, 1), torch.inf)).sum() + model[0](torch.ones(1, 1)).sum()

    @pytest.fixture
    def pair(self):
        return nn.ModuleList([nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)])

    def test_they_may_skip_the_update(self, pair):
        wrapper = sgd(pair, nonfinite="skip", clip_grad=dict(max_norm=1.0))
        before = copy.deepcopy(pair.state_dict())
        assert wrapper.update_params(self.poisoned(pair)) is StepOutcome.SKIPPED
        assert (wrapper.update_count, wrapper.skipped_count) == (0, 1)
        assert all(torch.equal(before[name], value) for name, value in pair.state_dict().items())
        assert pair[0].weight.grad is None
        assert wrapper.update_params(pair[0](torch.ones(1, 1)).sum()) is StepOutcome.UPDATED

    def test_they_may_be_an_error_that_names_the_first_bad_parameter(self, pair):
        wrapper = sgd(pair, nonfinite="raise")
        wrapper.update_params(pair[0](torch.ones(1, 1)).sum())
        with pytest.raises(
            NonFiniteError, match=r"the gradient of '1\.weight' is not finite in update 2 \(iteration 2\)"
        ):
            wrapper.update_params(self.poisoned(pair))

    @pytest.mark.parametrize("counts", [1, 2])
    @pytest.mark.parametrize(
        "policy", [dict(nonfinite="raise"), dict(clip_grad=dict(max_norm=9, error_if_nonfinite=True))]
    )
    def test_whoever_goes_on_after_the_error_begins_another_window(self, pair, policy, counts):
        wrapper = sgd(pair, accumulative_counts=counts, **policy)
        for _ in range(counts - 1):
            wrapper.update_params(pair[0](torch.ones(1, 1)).sum())
        with pytest.raises(NonFiniteError):
            wrapper.update_params(self.poisoned(pair))
        assert not pair[1].weight.grad.isfinite()  # to be looked at
        before = pair[0].weight.item()
        outcomes = [wrapper.update_params(pair[0](torch.ones(1, 1)).sum()) for _ in range(counts)]
        assert outcomes == [*[StepOutcome.ACCUMULATING] * (counts - 1), StepOutcome.UPDATED]
        assert pair[0].weight.item() != before
        assert pair[1].weight.isfinite()

    def test_those_of_a_sparse_gradient_are_found(self):
        model = nn.Embedding(3, 1, sparse=True)
        wrapper = sgd(model, nonfinite="skip")
        assert wrapper.update_params(model(torch.tensor([1])).sum() * torch.inf) is StepOutcome.SKIPPED

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_large_gradients_are_finite_in_any_precision(self, dtype):
        parameter = nn.Parameter(torch.zeros(4, dtype=dtype))
        wrapper = OptimWrapper(torch.optim.SGD([parameter], lr=1e-5), nonfinite="skip")
        assert wrapper.update_params((parameter * torch.finfo(dtype).max).sum()) is StepOutcome.UPDATED

    def test_a_step_by_closure_cannot_be_skipped(self, pair):
        with pytest.raises(ConfigError, match="^nonfinite: "):
            sgd(pair, nonfinite="skip").step(closure=lambda: None)

    def test_a_misspelt_policy_is_an_error(self, pair):
        with pytest.raises(ConfigError, match="^nonfinite: .*Did you mean 'raise'"):
            sgd(pair, nonfinite="rise")


class TestClosure:
    def test_lbfgs_steps_by_a_closure(self, linear):
        wrapper = build_optim_wrapper(linear, dict(optimizer=dict(type="LBFGS", lr=1.0)))
        x, y = torch.randn(8, 2), torch.randn(8, 1)

        def closure():
            wrapper.zero_grad()
            loss = (linear(x) - y).square().mean()
            loss.backward()
            return loss

        for _ in range(3):
            assert wrapper.step(closure=closure) is StepOutcome.UPDATED
        solution = torch.linalg.lstsq(x, y).solution
        assert torch.allclose(linear.weight.T, solution, atol=1e-4)

    def test_clipping_follows_every_evaluation(self, linear):
        wrapper = sgd(linear, lr=1.0, clip_grad=dict(max_norm=1.0))

        def closure():
            wrapper.zero_grad()
            loss = linear(torch.tensor([[30.0, 40.0]])).sum()
            loss.backward()
            return loss

        wrapper.step(closure=closure)
        assert wrapper.grad_norm == 50.0
        assert torch.allclose(linear.weight, torch.tensor([[0.4, 0.2]]))

    def test_without_one_lbfgs_says_how(self, linear):
        wrapper = OptimWrapper(torch.optim.LBFGS(linear.parameters()))
        with pytest.raises(OptimzooError, match=r"LBFGS .*wrapper\.step\(closure=closure\)"):
            wrapper.update_params(linear(torch.ones(1, 2)).sum())
        with pytest.raises(OptimzooError, match=r"wrapper\.step\(closure=closure\)"):
            wrapper.step()

    @pytest.mark.parametrize("wrong", [dict(accumulative_counts=2), dict(nonfinite="skip")])
    def test_what_a_closure_rules_out_is_refused_at_once(self, wrong, linear):
        with pytest.raises(ConfigError, match="evaluates the loss itself"):
            OptimWrapper(torch.optim.LBFGS(linear.parameters()), **wrong)
