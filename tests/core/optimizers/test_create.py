import warnings
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from optimzoo import build_optim_wrapper, build_optimizer
from optimzoo.errors import ConfigError, OptimzooError, OptimzooWarning


class Extra(torch.optim.AdamW):
    def __init__(self, *args, extra=1, **kwargs):
        super().__init__(*args, **kwargs)
        self.extra = extra


class Positional(torch.optim.AdamW):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


class Keywords(torch.optim.AdamW):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)


@pytest.mark.parametrize("cls", [Extra, Positional, Keywords])
def test_a_class_that_hands_its_arguments_on_is_built_and_refuses_what_its_base_does_not_take(cls, model):
    assert build_optimizer(model, dict(type=cls, lr=0.25)).param_groups[0]["lr"] == 0.25
    with pytest.raises(ConfigError, match=f"{cls.__name__} has no argument 'wieght_decay'. Did you mean"):
        build_optimizer(model, dict(type=cls, wieght_decay=0.1))
    with pytest.raises(ConfigError, match="params: it is what is built from the model"):
        build_optimizer(model, dict(type=cls, params=[]))


class TestTheFastestKernel:
    @pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "Adagrad"])
    def test_it_is_chosen_where_the_optimizer_has_one(self, name, model):
        assert build_optimizer(model, dict(type=name, lr=0.1)).defaults["fused"] is True

    @pytest.mark.filterwarnings("ignore:Lion. it does not survive a deepcopy")
    @pytest.mark.parametrize("name", ["AdamW", "SGD", "Lion"])
    def test_it_is_the_same_for_a_model_and_for_its_parameters(self, name, model):
        forms = (model, model.parameters(), model.named_parameters(), [dict(params=list(model.parameters()))])
        built = [build_optimizer(form, dict(type=name, lr=0.1)).param_groups[0].get("fused") for form in forms]
        assert built == [name != "Lion" or None] * len(forms)

    @pytest.mark.parametrize("said", [dict(fused=False), dict(foreach=True), dict(foreach=False)])
    def test_what_the_user_says_stands(self, said, model):
        optimizer = build_optimizer(model, dict(type="AdamW", lr=0.1, **said))
        assert not optimizer.defaults["fused"]

    def test_it_is_not_chosen_against_an_option_that_it_does_not_have(self, model):
        optimizer = build_optimizer(model, dict(type="AdamW", lr=0.1, differentiable=True))
        assert not optimizer.defaults["fused"]
        assert not optimizer.param_groups[0]["fused"]

    def test_it_is_not_chosen_for_a_dtype_that_it_does_not_take(self):
        model = nn.Linear(2, 2, dtype=torch.complex64)
        assert not build_optimizer(model, dict(type="SGD", lr=0.1)).defaults["fused"]

    def test_it_is_not_chosen_for_sparse_gradients_which_then_work(self):
        model = nn.Embedding(10, 3, sparse=True)
        wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=0.1)))
        before = model.weight.clone()
        wrapper.update_params(model(torch.tensor([1])).sum())
        assert (before - model.weight).abs().sum(1).nonzero().flatten().tolist() == [1]

    @pytest.mark.parametrize("fused", [dict(), dict(fused=True)], ids=["chosen", "asked for"])
    @pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "Adagrad"])
    @pytest.mark.parametrize("form", ["channels_last", "transposed", "transposed gradient", "expanded gradient"])
    def test_it_takes_a_gradient_of_another_layout_than_its_weights(self, form, name, fused):
        weight, gradient = {
            "channels_last": lambda: (
                torch.randn(8, 4, 3, 3).to(memory_format=torch.channels_last),
                torch.randn(8, 4, 3, 3),
            ),
            "transposed": lambda: (torch.randn(4, 8).t(), torch.randn(8, 4)),
            "transposed gradient": lambda: (torch.randn(8, 4), torch.randn(4, 8).t()),
            "expanded gradient": lambda: (torch.randn(8, 4), torch.randn(4).expand(8, 4)),
        }[form]()
        moved = []
        for settings in (dict(fused=False), fused):
            model = nn.Module()
            model.weight = nn.Parameter(weight.clone())
            optimizer = build_optimizer(model, dict(type=name, lr=0.1, **settings))
            for sign in (1, -0.5):
                model.weight.grad = gradient * sign if "expanded" not in form else (gradient[0] * sign).expand(8, 4)
                optimizer.step()
            moved.append(model.weight.detach())
        assert optimizer.defaults["fused"]
        torch.testing.assert_close(*moved)

    def test_that_of_triton_is_not_left_to_a_class_whose_parameters_are_on_a_cpu(self):
        class Careless(torch.optim.SGD):
            def __init__(self, params, lr, triton=None):
                super().__init__(params, lr)
                self.triton = triton is not False

        for device, said, taken in (("cpu", {}, False), ("meta", {}, True), ("cpu", dict(triton=True), True)):
            weights = [nn.Parameter(torch.zeros(2, device=device))]
            assert build_optimizer(weights, dict(type=Careless, lr=0.1, **said)).triton is taken

    def test_it_is_not_chosen_for_a_class_that_only_derives_from_one_that_has_it(self, model):
        class Own(torch.optim.SGD):
            pass

        assert not build_optimizer(model, dict(type=Own, lr=0.1)).defaults["fused"]

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            *((name, {}) for name in ("Adam", "AdamW", "SGD", "Adagrad")),
            ("AdamW", dict(amsgrad=True)),
            ("SGD", dict(momentum=0.9)),
            ("SGD", dict(momentum=0.9, nesterov=True)),
            ("SGD", dict(momentum=0.9, fused=True)),
            ("SGD", dict(momentum=0.9, nesterov=True, weight_decay=0.1, fused=True)),
        ],
        ids=str,
    )
    def test_it_trains_a_layer_whose_first_gradient_comes_late(self, name, options):
        after = []
        for said in (dict(), dict(fused=False)):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
            wrapper = build_optim_wrapper(model, dict(optimizer=dict(type=name, lr=0.1, **{**options, **said})))
            for number in range(4):
                model[0].requires_grad_(number > 0)
                wrapper.update_params(model(torch.ones(2, 4)).square().mean())
            after.append(model[0].weight.detach())
        torch.testing.assert_close(*after)

    def test_one_that_cannot_begin_a_momentum_later_says_so(self):
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        optimizer = build_optimizer(model, dict(type="SGD", lr=0.1, momentum=0.9, dampening=0.5, fused=True))
        model[1](torch.ones(2)).sum().backward()
        optimizer.step()
        model(torch.ones(2)).sum().backward()
        with pytest.raises(OptimzooError, match="fused=False"):
            optimizer.step()

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
    def test_it_trains_as_the_slow_one_does(self, dtype):
        params = []
        for said in (dict(), dict(fused=False)):
            torch.manual_seed(0)
            model = nn.Linear(4, 4, dtype=dtype)
            optimizer = build_optimizer(model, dict(type="AdamW", lr=0.1, betas=(0.9, 0.99), **said))
            for _ in range(3):
                model(torch.ones(4, dtype=dtype)).square().sum().backward()
                optimizer.step()
                optimizer.zero_grad()
            params.append(model.weight.detach())
        torch.testing.assert_close(*params)


class TestTensorLearningRates:
    def test_each_group_has_its_own_and_the_config_keeps_its_own(self):
        lr = torch.tensor(0.1)
        wrapper = build_optim_wrapper(
            nn.Linear(2, 2), dict(optimizer=dict(type="AdamW", lr=lr), paramwise_cfg=dict(bias_decay_mult=0.0))
        )
        first, second = (group["lr"] for group in wrapper.optimizer.param_groups)
        first.fill_(5.0)
        wrapper.optimizer.defaults["lr"].fill_(7.0)
        assert (float(second), float(lr)) == pytest.approx((0.1, 0.1))

    def test_equal_ones_share_a_group_and_are_multiplied(self):
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        cfg = dict(optimizer=dict(type="Adam", lr=torch.tensor(0.1)), paramwise_cfg=dict(bias_lr_mult=2.0))
        _, biases = build_optim_wrapper(model, cfg).optimizer.param_groups
        assert biases["param_names"] == ["0.bias", "1.bias"]
        assert float(biases["lr"]) == pytest.approx(0.2)

    def test_whole_numbers_are_refused(self):
        with pytest.raises(ConfigError, match=r"optimizer\.lr: a tensor of floats is wanted, got torch\.int64"):
            build_optimizer(nn.Linear(1, 1), dict(type="SGD", lr=torch.tensor(1)))


class TestWhatThereIsToOptimize:
    def test_a_model_whose_parameters_are_all_frozen_is_an_error(self, model):
        model.requires_grad_(False)
        for paramwise_cfg in (None, dict(bias_lr_mult=2.0)):
            cfg = dict(optimizer=dict(type="SGD", lr=0.1), paramwise_cfg=paramwise_cfg)
            with pytest.raises(ConfigError, match=r"optimizer: SGD has nothing .*: all 8 parameters are frozen"):
                build_optim_wrapper(model, cfg)

    def test_so_is_a_model_without_parameters(self):
        with pytest.raises(ConfigError, match="SGD has nothing to optimize: the model has no parameters"):
            build_optim_wrapper(nn.ReLU(), dict(optimizer=dict(type="SGD", lr=0.1)))

    def test_groups_may_hold_named_parameters(self):
        model = nn.Linear(2, 2)
        groups = [dict(params=[("w", model.weight)]), dict(params=[("b", model.bias)], lr=0.5)]
        optimizer = build_optimizer(groups, dict(type="SGD", lr=0.1))
        assert [(g["param_names"], g["lr"]) for g in optimizer.param_groups] == [(["w"], 0.1), (["b"], 0.5)]

    @pytest.mark.parametrize(
        ("params", "said"),
        [
            ([dict(lr=0.1)], "has its parameters under the key 'params', got lr"),
            ([dict(params=[("w", torch.ones(1)), torch.ones(1)])], "some parameters of a group have names"),
            ([("w", torch.ones(1)), torch.ones(1)], "some parameters of a group have names"),
            ([dict(params=["w"])], "a parameter is a tensor, got 'w'"),
            ([dict(params=[]), torch.ones(1)], "are mixed in one list"),
            ({torch.ones(1)}, "got a set: its order is another in each run"),
            ([dict(params=frozenset([torch.ones(1)]))], "got a set: its order is another in each run"),
            ([], "the parameter list is empty"),
        ],
        ids=str,
    )
    def test_a_list_that_cannot_be_optimized_says_why(self, params, said):
        with pytest.raises(ConfigError, match=said):
            build_optimizer(params, dict(type="SGD", lr=0.1))


class TestNeeds:
    def test_one_group_for_lbfgs(self, model):
        cfg = dict(optimizer=dict(type="LBFGS"), paramwise_cfg=dict(bias_lr_mult=2.0))
        with pytest.raises(
            ConfigError, match="LBFGS takes one parameter group, and the parameter-wise settings make 2"
        ):
            build_optim_wrapper(model, cfg)

    @pytest.mark.parametrize("kind", ["AdaGrad", "Adam", "Adan", "Lion", "SGD"])
    def test_one_learning_rate_for_d_adaptation(self, kind, model):
        cfg = dict(optimizer=dict(type=f"DAdapt{kind}"), paramwise_cfg=dict(custom_keys={"0.": dict(lr_mult=0.1)}))
        with pytest.raises(ConfigError, match=r"one step size over all groups, .* 0\.1, 1\.0"):
            build_optim_wrapper(model, cfg)

    @pytest.mark.parametrize("kind", ["Adam", "SGD"])
    @pytest.mark.parametrize("first", [True, False])
    def test_a_learning_rate_of_0_freezes_a_group_of_these_and_the_other_trains_as_if_alone(self, kind, first):
        def trained(**paramwise_cfg):
            torch.manual_seed(0)
            layers = nn.Linear(4, 4), nn.Linear(4, 4)
            model = nn.ModuleDict(dict(zip(("frozen", "free") if first else ("free", "frozen"), layers)))
            frozen, before = model["frozen"], model["frozen"].weight.clone()
            frozen.requires_grad_(bool(paramwise_cfg))
            cfg = dict(optimizer=dict(type=f"DAdapt{kind}"), paramwise_cfg=paramwise_cfg)
            wrapper = build_optim_wrapper(model, cfg)
            for _ in range(20):
                wrapper.update_params(model["free"](torch.tanh(frozen(torch.ones(4)))).sub(1).square().mean())
            assert torch.equal(before, frozen.weight)
            return model["free"].weight.detach()

        torch.testing.assert_close(trained(custom_keys={"frozen": dict(lr_mult=0.0)}), trained())

    def test_a_group_that_a_schedule_brings_to_0_would_move_on_by_its_momentum(self):
        model = nn.ModuleDict(dict(body=nn.Linear(2, 2), head=nn.Linear(2, 1)))
        groups = dict(paramwise_cfg=dict(custom_keys={"body": dict(name="body")}))
        wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="DAdaptAdam"), **groups))
        for rate in (1.0, 0.0):
            wrapper.optimizer.param_groups[0]["lr"] = rate
            context = pytest.raises(ConfigError, match="the learning rates 0.0, 1.0") if not rate else nullcontext()
            with context:
                wrapper.update_params(model["head"](model["body"](torch.ones(2))).square().sum())

    @pytest.mark.parametrize("kind", ["AdaGrad", "Adan", "Lion"])
    def test_a_learning_rate_of_0_is_refused_where_it_does_something_else(self, kind, model):
        cfg = dict(optimizer=dict(type=f"DAdapt{kind}"), paramwise_cfg=dict(custom_keys={"0.": dict(lr_mult=0.0)}))
        with pytest.raises(ConfigError, match=r"learning rates 0\.0, 1\.0\..* needs requires_grad=False instead of 0"):
            build_optim_wrapper(model, cfg)

    @pytest.mark.parametrize("kind", ["AdaGrad", "Adam", "Adan", "Lion", "SGD"])
    def test_a_schedule_that_makes_the_learning_rates_differ_is_noticed_in_the_step(self, kind):
        model = nn.Linear(2, 2)
        cfg = dict(optimizer=dict(type=f"DAdapt{kind}", weight_decay=0.1), paramwise_cfg=dict(bias_decay_mult=0.0))
        wrapper = build_optim_wrapper(model, cfg)
        wrapper.update_params(model(torch.ones(2)).sum())
        for group in wrapper.optimizer.param_groups:
            group["lr"] *= 0.5
        wrapper.update_params(model(torch.ones(2)).sum())
        wrapper.optimizer.param_groups[1]["lr"] = 0.25
        with pytest.raises(ConfigError, match=r"they have the learning rates 0\.25, 0\.5"):
            wrapper.update_params(model(torch.ones(2)).sum())

    def test_muon_in_bfloat16_without_nesterov_is_refused_where_torch_spoils_its_momentum(self):
        model = nn.Linear(4, 4, bias=False, dtype=torch.bfloat16)
        muon = torch.optim.Muon(model.parameters(), nesterov=False, weight_decay=0.0)
        for _ in range(2):
            model.weight.grad = torch.ones(4, 4, dtype=torch.bfloat16)
            muon.step()
        average = 1 - 0.95**2  # of equal gradients
        if abs(float(muon.state[model.weight]["momentum_buffer"].mean()) - average) < 0.01:
            assert build_optimizer(model, dict(type="Muon", nesterov=False))
            return
        with pytest.raises(ConfigError, match="nesterov: .* overwrites the momentum of bfloat16 parameters"):
            build_optimizer(model, dict(type="Muon", nesterov=False))
        groups = [dict(params=[*model.parameters()], nesterov=False)]
        with pytest.raises(ConfigError, match="nesterov: .* overwrites the momentum of bfloat16 parameters"):
            build_optimizer(groups, dict(type="Muon"))
        build_optimizer(model, dict(type="Muon"))
        build_optimizer(model.float(), dict(type="Muon", nesterov=False))

    def test_matrices_for_muon(self, model):
        with pytest.raises(
            ConfigError, match=r"Muon updates matrices only, and 7 .*: 0\.weight \(4, 1, 3, 3\), 0\.bias \(4,\)"
        ):
            build_optim_wrapper(model, dict(optimizer=dict(type="Muon")))
        with pytest.raises(ConfigError, match=r"parameter 1 of group 0 \(2,\)"):
            build_optimizer(nn.Linear(2, 2).parameters(), dict(type="Muon"))

    def test_frozen_parameters_are_none_of_muons_business(self):
        model = nn.Linear(2, 2)
        model.bias.requires_grad_(False)
        assert build_optimizer(model, dict(type="Muon")).param_groups[0]["param_names"] == ["weight"]

    def test_a_class_derived_from_one_with_needs_has_them_too(self, model):
        class Own(torch.optim.LBFGS):
            pass

        with pytest.raises(ConfigError, match="Own takes one parameter group"):
            build_optim_wrapper(model, dict(optimizer=dict(type=Own), paramwise_cfg=dict(bias_lr_mult=2.0)))


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning", "ignore:Paged optimizers:UserWarning")
@pytest.mark.filterwarnings("ignore:.*does not survive a deepcopy")  # a fact, and no note
class TestNotes:
    @pytest.mark.parametrize(
        ("name", "arguments", "said"),
        [
            ("bnb_Adam", dict(amsgrad=True), "amsgrad of Adam: it does nothing"),
            ("PagedAdamW", dict(amsgrad=True), "amsgrad of PagedAdamW: it does nothing"),
            ("bnb_SGD", dict(lr=0.1, momentum=0.9, nesterov=True), "nesterov of SGD: it does nothing"),
            ("RMSprop8bit", dict(momentum=0.5), "momentum of RMSprop8bit: it does nothing"),
            ("LARS", dict(lr=0.1, momentum=0.9, dampening=0.1), "dampening of LARS: it does nothing"),
            ("LAMB", dict(adam_w_mode=False), "adam_w_mode of LAMB: it does nothing"),
        ],
    )
    def test_an_argument_that_does_nothing_is_told_at_the_build_and_does_nothing(self, name, arguments, said):
        def trained(**given):
            torch.manual_seed(0)
            model = nn.Linear(64, 64)
            optimizer = build_optimizer(model, dict(type=name, **given))
            for scale in (10, 10, 0.1, 0.1):
                model.weight.grad, model.bias.grad = scale * torch.randn(64, 64), scale * torch.randn(64)
                optimizer.step()
            return model.weight.detach()

        with pytest.warns(OptimzooWarning, match=said):
            after = trained(**arguments)
        *others, _ = arguments
        assert torch.equal(after, trained(**{key: arguments[key] for key in others}))

    def test_what_is_as_usual_is_told_nothing_of(self):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            build_optimizer(nn.Linear(2, 2), dict(type="bnb_Adam", amsgrad=False))
        assert not [str(each.message) for each in told if "amsgrad" in str(each.message)]

    @pytest.mark.parametrize("name", ["LAMB8bit", "LARS8bit"])
    def test_a_name_that_is_something_else_is_told_at_each_build(self, name):
        with pytest.warns(OptimzooWarning, match=f"^{name}: it has no trust ratio for parameters of 4 096"):
            build_optimizer(nn.Linear(2, 2), dict(type=name, lr=0.1, **({"momentum": 0.9} if "LARS" in name else {})))

    def test_a_decay_that_is_decoupled_is_told(self):
        with pytest.warns(OptimzooWarning, match="weight_decay of Adam8bit: it is decoupled"):
            build_optimizer(nn.Linear(2, 2), dict(type="Adam8bit", weight_decay=0.1))


def test_the_first_argument_may_have_any_name(model):
    class Hybrid(torch.optim.SGD):
        def __init__(self, model_params, lr=0.1):
            super().__init__(model_params, lr=lr)

    optimizer = build_optimizer(model, dict(type=Hybrid, lr=0.2))
    assert (type(optimizer), optimizer.defaults["lr"]) == (Hybrid, 0.2)


@pytest.mark.parametrize("name", ["SGD", "Lion", "heavyball.AdamW"])
def test_the_parameters_are_no_setting_of_a_config(name):
    with pytest.raises(ConfigError, match=r"^optim_wrapper\.optimizer\.params: it is what is built from the model"):
        build_optim_wrapper(nn.Linear(2, 2), dict(optimizer=dict(type=name, lr=0.1, params="abc")))
