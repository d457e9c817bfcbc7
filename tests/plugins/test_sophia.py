import copy
import pickle

import pytest
import torch
from torch import nn

from optimzoo import OptimWrapper, build_optim_wrapper, build_optimizer
from optimzoo.errors import ConfigError, OptimzooError, OptimzooWarning
from optimzoo.wrappers import sampled_cross_entropy
from optimzoo_plugins.sophia.optimizer import Sophia, SophiaG

X = torch.randn(16, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.randint(3, (16,), generator=torch.Generator().manual_seed(1))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()


class Paper:
    """Algorithm 3 of arXiv:2305.14342 in its own letters, one parameter at a time, with exact derivatives."""

    def __init__(self, model, eta, beta1, beta2, gamma, lam, eps, k):
        self.theta = list(model.parameters())
        self.eta, self.beta1, self.beta2, self.gamma, self.lam, self.eps, self.k = eta, beta1, beta2, gamma, lam, eps, k
        self.m = [torch.zeros_like(p) for p in self.theta]
        self.h = [torch.zeros_like(p) for p in self.theta]
        self.t = 0

    @torch.no_grad()
    def step(self, gradient, estimate):
        self.t += 1
        fresh = estimate() if (self.t - 1) % self.k == 0 else None
        for i, (theta, g) in enumerate(zip(self.theta, gradient)):
            self.m[i] = self.beta1 * self.m[i] + (1 - self.beta1) * g
            if fresh is not None:
                self.h[i] = self.beta2 * self.h[i] + (1 - self.beta2) * fresh[i]
            theta -= self.eta * self.lam * theta
            for index in range(theta.numel()):
                ratio = self.m[i].view(-1)[index] / max(self.gamma * self.h[i].view(-1)[index], self.eps)
                theta.view(-1)[index] -= self.eta * max(-1.0, min(1.0, ratio))


def hutchinson(model, seed):
    """u * (H u), with the Hessian computed whole."""
    params = dict(model.named_parameters())
    flat = torch.cat([p.detach().flatten() for p in params.values()])

    def loss(vector):
        parts = vector.split([p.numel() for p in params.values()])
        replaced = {n: part.view_as(p) for (n, p), part in zip(params.items(), parts)}
        return nn.functional.cross_entropy(torch.func.functional_call(model, replaced, (X,)), Y)

    hessian = torch.autograd.functional.hessian(loss, flat)
    torch.manual_seed(seed)
    u = torch.cat([torch.randn_like(p).flatten() for p in params.values()])
    estimate = u * (hessian @ u)
    return [e.view_as(p) for e, p in zip(estimate.split([p.numel() for p in params.values()]), params.values())]


def gauss_newton_bartlett(model, seed):
    """B times the square of the gradient of the mean loss on B sampled labels, summed one sample at a time."""
    torch.manual_seed(seed)
    with torch.no_grad():
        labels = torch.multinomial(model(X).float().softmax(-1), 1).squeeze(-1)
    total = [torch.zeros_like(p) for p in model.parameters()]
    with torch.enable_grad():
        for x, label in zip(X, labels):
            loss = nn.functional.cross_entropy(model(x[None]), label[None])
            for sum_, grad in zip(total, torch.autograd.grad(loss, list(model.parameters()))):
                sum_ += grad
    return [len(X) * (grad / len(X)) ** 2 for grad in total]


@pytest.mark.parametrize(
    ("optimizer", "gamma", "estimator"),
    [
        (dict(type="Sophia", rho=0.5), 0.5, hutchinson),
        (dict(type="DecoupledSophia", rho=0.5, estimator="GNB"), 0.5, gauss_newton_bartlett),
        (dict(type="SophiaG", rho=2.0), 2.0, gauss_newton_bartlett),
    ],
    ids=["Sophia", "DecoupledSophia with gnb", "SophiaG"],
)
def test_every_step_is_that_of_the_paper(optimizer, gamma, estimator):
    model = network()
    paper = Paper(copy.deepcopy(model), eta=0.02, beta1=0.9, beta2=0.8, gamma=gamma, lam=0.3, eps=1e-12, k=3)
    twin = network()
    twin.load_state_dict(model.state_dict())
    paper.theta = list(twin.parameters())
    wrapper = build_optim_wrapper(
        model, dict(optimizer=dict(**optimizer, lr=0.02, betas=(0.9, 0.8), weight_decay=0.3, k=3))
    )
    unclipped = 0
    for step in range(9):
        gradient = torch.autograd.grad(nn.functional.cross_entropy(twin(X), Y), list(twin.parameters()))
        paper.step(gradient, lambda seed=step: estimator(twin, seed))
        unclipped += sum(int((m.abs() < gamma * h).sum()) for m, h in zip(paper.m, paper.h))
        torch.manual_seed(step)
        logits = model(X)
        wrapper.update_params(
            nn.functional.cross_entropy(logits, Y), curvature=lambda logits=logits: sampled_cross_entropy(logits)
        )
        for mine, oracle in zip(model.parameters(), twin.parameters()):
            assert torch.allclose(mine, oracle, rtol=1e-9, atol=1e-12), f"step {step + 1}"
    assert unclipped > 0, "the case is too easy: every coordinate was clipped"


def test_the_four_names_of_the_documents_are_there():
    for name, cls in (("Sophia", Sophia), ("Sophia2", Sophia), ("DecoupledSophia", Sophia), ("SophiaG", SophiaG)):
        assert type(build_optim_wrapper(network(), dict(optimizer=dict(type=name))).optimizer) is cls


def test_the_estimate_runs_every_k_updates_on_the_iteration_that_completes_one():
    model, asked = network(), []
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SophiaG", k=2), accumulative_counts=3))
    for iteration in range(1, 13):
        logits = model(X)

        def sampled(logits=logits, iteration=iteration):
            asked.append(iteration)
            return sampled_cross_entropy(logits)

        wrapper.update_params(nn.functional.cross_entropy(logits, Y), curvature=sampled)
    assert asked == [3, 9]


def test_sophia_g_without_a_sampled_loss_says_what_it_does_instead():
    model = network()
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SophiaG")))
    with pytest.warns(OptimzooWarning, match=r"uses Hutchinson's estimate.*curvature=lambda"):
        wrapper.update_params(nn.functional.cross_entropy(model(X), Y))
    assert all(state["hessian"].abs().sum() > 0 for state in wrapper.optimizer.state.values())


@pytest.mark.parametrize("wrapper", [dict(nonfinite="skip"), dict(type="AmpOptimWrapper", dtype="float16")])
def test_a_skipped_update_leaves_no_trace_of_its_estimate(wrapper):
    models = [network().float(), network().float()]
    x = X.float()
    for model, factors in zip(models, ([1.0, torch.inf, 1.0], [1.0, 1.0])):
        built = build_optim_wrapper(model, dict(optimizer=dict(type="SophiaG", k=1, lr=0.1, rho=50.0), **wrapper))
        for update, factor in enumerate(factors):
            torch.manual_seed(0 if update == 0 else len(factors) - 1 - update)
            logits = model(x)
            built.update_params(
                nn.functional.cross_entropy(logits, Y) * factor,
                curvature=lambda logits=logits: sampled_cross_entropy(logits),
            )
        assert built.update_count == 2
    for mine, theirs in zip(*(model.parameters() for model in models)):
        assert torch.equal(mine, theirs)


def test_a_sampled_loss_without_its_number_of_labels_is_explained():
    model = network()
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SophiaG")))
    with pytest.raises(OptimzooError, match="a loss on sampled labels and their number.* got Tensor"):
        wrapper.update_params(model(X).square().mean(), curvature=lambda: model(X).square().mean())


def test_stepping_past_the_wrapper_without_an_estimate_is_a_warning():
    model = network()
    optimizer = Sophia(model.parameters())
    model(X).sum().backward()
    with pytest.warns(OptimzooWarning, match="steps without a fresh curvature estimate"):
        optimizer.step()


@pytest.mark.parametrize("name", ["Sophia", "SophiaG"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))])
def test_a_copy_steps_as_the_original(name, copied):
    original = build_optimizer(nn.Linear(2, 1), dict(type=name, lr=0.1, k=2))
    twin = copied(original)
    for optimizer in (original, twin):
        weight, bias = (p for group in optimizer.param_groups for p in group["params"])
        for _ in range(3):
            loss = (weight.sum() ** 4 + bias**2).sum()
            if optimizer.curvature_due():
                optimizer.update_curvature(loss, lambda loss=loss: (loss, 4))
            weight.grad, bias.grad = torch.autograd.grad(loss, (weight, bias))
            torch.manual_seed(0)
            optimizer.step()
    params = [[p for group in optimizer.param_groups for p in group["params"]] for optimizer in (original, twin)]
    assert (twin.k, twin.estimator) == (2, original.estimator)
    assert all(map(torch.equal, *params))


def test_parameters_that_the_loss_does_not_reach_are_left_alone():
    model = nn.ModuleList([nn.Linear(5, 3), nn.Linear(5, 3)]).double()
    before = model[1].weight.clone()
    wrapper = OptimWrapper(Sophia(model.parameters(), lr=0.1))
    wrapper.update_params(nn.functional.cross_entropy(model[0](X), Y))
    assert torch.equal(model[1].weight, before)


def test_a_loss_that_is_linear_has_no_curvature():
    model = nn.Linear(5, 1).double()
    OptimWrapper(Sophia(model.parameters())).update_params(model(X).sum())
    assert torch.isfinite(model.weight).all()


def test_a_learning_rate_may_be_a_tensor():
    models = [network(), network()]
    for model, lr in zip(models, (0.01, torch.tensor(0.01, dtype=torch.float64))):
        torch.manual_seed(0)
        OptimWrapper(Sophia(model.parameters(), lr=lr)).update_params(nn.functional.cross_entropy(model(X), Y))
    for mine, theirs in zip(models[0].parameters(), models[1].parameters()):
        assert torch.equal(mine, theirs)


def test_an_operation_without_a_second_derivative_is_explained():
    class Attention(nn.Linear):
        def forward(self, x):
            heads = super().forward(x).view(2, 4, 2, 4).transpose(1, 2)
            return nn.functional.scaled_dot_product_attention(heads, heads, heads)

    model = Attention(8, 8)
    with pytest.raises(OptimzooError, match="differentiates the loss twice, and an operation of the model cannot"):
        OptimWrapper(Sophia(model.parameters())).update_params(model(torch.randn(2, 4, 8)).square().sum())


def test_sparse_gradients_are_refused():
    model = nn.Embedding(4, 2, sparse=True)
    optimizer = Sophia(model.parameters())
    optimizer.param_groups[0]["step"] = 1
    model(torch.tensor([1])).sum().backward()
    with pytest.raises(OptimzooError, match="sparse gradients"):
        optimizer.step()


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (dict(lr=-1.0), "lr"),
        (dict(betas=(1.5, 0.9)), "betas[0]"),
        (dict(k=0), "k"),
        (dict(estimator="fisher"), "estimator"),
        (dict(rho=-1), "rho"),
    ],
)
def test_a_wrong_argument_is_named(arguments, path):
    with pytest.raises(ConfigError) as caught:
        Sophia(network().parameters(), **arguments)
    assert caught.value.path == path
