import copy
import sys

import pytest
import torch
from torch import nn

from optimzoo import OptimWrapper, build_optim_wrapper, build_optimizer, build_param_scheduler, hookimpl
from optimzoo.errors import ConfigError, MissingDependencyError, OptimzooWarning, PluginWarning, UnknownNameError
from optimzoo.names.zoo import plugins

DOCUMENTED = [
    dict(type="DAdaptAdaGrad", lr=0.001, momentum=0.9),
    dict(type="Lion", lr=1e-4, weight_decay=1e-2),
    dict(type="SophiaG", lr=2e-4, betas=(0.965, 0.99), rho=0.01, weight_decay=1e-1),
    dict(type="AdamW8bit", lr=1e-4, weight_decay=1e-2),
    dict(type="Adafactor", lr=1e-5, weight_decay=1e-2, scale_parameter=False, relative_step=False),
]


class TestOptimWrapper:
    @pytest.mark.parametrize("optimizer", DOCUMENTED, ids=lambda cfg: cfg["type"])
    def test_the_documented_configs_build_as_written(self, optimizer, model):
        wrapper = build_optim_wrapper(model, dict(optimizer=optimizer))
        assert type(wrapper.optimizer).__name__ == optimizer["type"]
        assert {k: wrapper.defaults[k] for k in optimizer if k in wrapper.defaults} == {
            k: v for k, v in optimizer.items() if k in wrapper.defaults
        }

    @pytest.mark.parametrize("around", [lambda optimizer: dict(optimizer=optimizer), OptimWrapper])
    def test_an_optimizer_of_other_parameters_than_the_models_is_told(self, around, model):
        cfg = around(torch.optim.SGD(copy.deepcopy(model).parameters(), lr=0.1))
        with pytest.warns(OptimzooWarning, match="the optimizer steps none of the parameters that Sequential has"):
            build_optim_wrapper(model, cfg)
        build_optim_wrapper(model, around(torch.optim.SGD(model[0].parameters(), lr=0.1)))

    def test_the_config_is_left_as_it_is(self, model):
        cfg = dict(
            type="OptimWrapper",
            optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05, betas=[0, 0.99]),
            clip_grad=dict(type="norm", max_norm=1.0),
            paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys={"0": dict(lr_mult=0.1)}),
        )
        before = copy.deepcopy(cfg)
        build_optim_wrapper(model, cfg)
        assert cfg == before

    def test_every_part_of_the_config_reaches_its_place(self, model):
        wrapper = build_optim_wrapper(
            model,
            dict(
                optimizer=dict(type="AdamW", lr=1e-3, betas=(0, 0.99)),
                accumulative_counts=4,
                clip_grad=dict(max_norm=2.0),
            ),
        )
        assert (wrapper._accumulative_counts, wrapper.clip_grad_kwargs) == (4, {"max_norm": 2.0})
        assert wrapper.defaults["betas"] == (0.0, 0.99)

    def test_a_built_optimizer_or_wrapper_is_used_as_it_is(self, model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        wrapper = build_optim_wrapper(model, dict(optimizer=optimizer, accumulative_counts=2))
        assert (wrapper.optimizer, wrapper._accumulative_counts) == (optimizer, 2)
        assert build_optim_wrapper(model, wrapper) is wrapper

    def test_plugins_are_told_of_a_build(self, model):
        class Listener:
            heard = None

            @hookimpl
            def optimzoo_built(self, optim_wrapper, model):
                self.heard = optim_wrapper, model

        listener = Listener()
        plugins.add(listener, "listener")
        try:
            wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=0.1)))
        finally:
            plugins.remove("listener")
        assert listener.heard == (wrapper, model)

    @pytest.mark.parametrize(
        "change",
        [
            lambda groups: groups.clear(),
            lambda groups: groups[0].update(params=[]),
            lambda groups: groups[0]["params"].pop(),
            lambda groups: groups.append({"params": []}),
            lambda groups: groups[0].clear(),
            lambda groups: groups[0].update(lr=9.0),
            lambda groups: groups[0].pop("momentum"),
        ],
        ids=["no groups", "no parameters", "one fewer", "one more", "nothing in it", "another rate", "no momentum"],
    )
    def test_a_plugin_that_changes_the_groups_is_named_and_they_are_put_back(self, change, model):
        class Meddler:
            @hookimpl
            def optimzoo_built(self, optim_wrapper):
                change(optim_wrapper.optimizer.param_groups)

        plugins.add(Meddler(), "meddler")
        try:
            with pytest.warns(
                PluginWarning, match="plugin 'meddler' .*optimzoo_built raised PluginError: it changed the"
            ):
                wrapper = build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=0.1)))
        finally:
            plugins.remove("meddler")
        (group,) = wrapper.param_groups
        assert list(map(id, group["params"])) == list(map(id, model.parameters()))
        assert (group["lr"], group["momentum"]) == (0.1, 0)

    @pytest.mark.parametrize(
        ("cfg", "path", "said"),
        [
            (3, "optim_wrapper", "dict with the key 'optimizer'"),
            (dict(), "optim_wrapper", "the key 'optimizer' is missing"),
            (dict(optimizer=3), "optim_wrapper.optimizer", "described by a dict"),
            (dict(optimizer=dict(lr=1)), "optim_wrapper.optimizer", "'type' is missing"),
            (dict(optimizer=dict(type="AdmaW")), "optim_wrapper.optimizer.type", "Did you mean 'AdamW'"),
            (dict(optimizer=dict(type="os:system")), "optim_wrapper.optimizer.type", "cannot be used as an optimizer"),
            (dict(optimizer=dict(type="AdamW", ler=1)), "optim_wrapper.optimizer.ler", "Did you mean 'lr'"),
            (dict(optimizer=dict(type="AdamW", lr="1e-3")), "optim_wrapper.optimizer.lr", "wants a number"),
            (
                dict(optimizer=dict(type="AdamW", lr=-1.0)),
                "optim_wrapper.optimizer.lr",
                "a number of at least 0 is wanted",
            ),
            (dict(optimizer=dict(type="AdamW", eps=-1.0)), "optim_wrapper.optimizer", "Invalid epsilon"),
            (dict(type="OptimWraper", optimizer=dict(type="SGD")), "optim_wrapper.type", "Did you mean 'OptimWrapper'"),
            (dict(type="SGD", optimizer=dict(type="SGD")), "optim_wrapper.type", "no optimizer wrapper 'SGD'"),
            (dict(optimizer=dict(type="SGD"), paramwise=1), "optim_wrapper.paramwise", "Did you mean 'paramwise_cfg'"),
            (dict(optimizer=dict(type="SGD"), clipgrad=1), "optim_wrapper.clipgrad", "Did you mean 'clip_grad'"),
            (dict(optimizer=dict(type="SGD"), clip_grad=1), "optim_wrapper.clip_grad", "a dict such as"),
            (
                dict(optimizer=dict(type="SGD"), clip_grad=dict(maxnorm=1)),
                "optim_wrapper.clip_grad.maxnorm",
                "Did you mean 'max_norm'",
            ),
            (
                dict(optimizer=dict(type="SGD"), clip_grad=dict(max_norm="1")),
                "optim_wrapper.clip_grad.max_norm",
                "wants a number",
            ),
            (
                dict(optimizer=dict(type="SGD"), accumulative_counts=0),
                "optim_wrapper.accumulative_counts",
                "at least 1 is wanted, got 0",
            ),
            (
                dict(optimizer=dict(type="SGD", weight_decay=1.0), paramwise_cfg=dict(norm_decay=0)),
                "optim_wrapper.paramwise_cfg.norm_decay",
                "Did you mean 'norm_decay_mult'",
            ),
            (
                dict(optimizer=dict(type="SGD"), constructor="DefaultOptimWraperConstructor"),
                "optim_wrapper.constructor",
                "Did you mean 'DefaultOptimWrapperConstructor'",
            ),
            (
                dict(optimizer=dict(type="SGD"), constructor="torch.nn:Linear"),
                "optim_wrapper.constructor",
                "called with optim_wrapper_cfg and paramwise_cfg: Linear has no argument 'optim_wrapper_cfg'",
            ),
        ],
    )
    def test_a_mistake_at_any_level_is_named_with_its_place(self, cfg, path, said, model):
        with pytest.raises(ConfigError) as caught:
            build_optim_wrapper(model, cfg)
        problem = next(p for p in caught.value.problems if p.path == path)
        assert said in str(problem)

    def test_every_mistake_is_reported_at_once(self, model):
        cfg = dict(optimizer=dict(type="AdamW", ler=1, betas=1), accumulativ_counts=2)
        with pytest.raises(ConfigError) as caught:
            build_optim_wrapper(model, cfg)
        assert len(caught.value.problems) == 3

    def test_a_missing_library_is_an_import_error_with_the_command(self, model, monkeypatch):
        monkeypatch.setitem(sys.modules, "lion_pytorch", None)
        with pytest.raises(MissingDependencyError, match=r"pip install 'optimzoo\[lion\]'") as caught:
            build_optim_wrapper(model, dict(optimizer=dict(type="Lion")))
        assert caught.value.path == "optim_wrapper.optimizer.type"


class TestOptimizer:
    def test_a_models_parameters_keep_their_names(self, model):
        optimizer = build_optimizer(model, dict(type="SGD", lr=0.1))
        assert optimizer.param_groups[0]["param_names"] == [name for name, _ in model.named_parameters()]

    @pytest.mark.parametrize(
        "form",
        [
            lambda m: m.parameters(),
            lambda m: m.named_parameters(),
            lambda m: [{"params": list(m.parameters())}],
            lambda m: [{"params": m.weight, "lr": 1.0}, {"params": [m.bias]}],
        ],
        ids=["parameters", "named parameters", "a group", "groups"],
    )
    def test_parameters_come_in_any_form_that_torch_takes(self, form):
        linear = nn.Linear(2, 1)
        optimizer = build_optimizer(form(linear), dict(type="SGD", lr=0.1))
        assert [p for group in optimizer.param_groups for p in group["params"]] == [linear.weight, linear.bias]

    @pytest.mark.parametrize("nothing", [[], nn.ReLU()], ids=["no parameters", "a model without any"])
    def test_an_empty_parameter_list_is_an_error(self, nothing):
        with pytest.raises(ConfigError, match="^optimizer: SGD has nothing to optimize"):
            build_optimizer(nothing, dict(type="SGD", lr=0.1))

    @pytest.mark.parametrize("wrong", [torch.zeros(1), ["weight"], [nn.Parameter(torch.zeros(1)), {"params": []}]])
    def test_what_is_not_a_list_of_parameters_is_explained(self, wrong):
        with pytest.raises(ConfigError, match="^optimizer: (parameter|a parameter)"):
            build_optimizer(wrong, dict(type="SGD", lr=0.1))

    @pytest.mark.parametrize(
        ("optimizer", "key", "said"),
        [
            (
                "AdamW",
                "lr_scale",
                "AdamW does not read: .* Give each group an 'lr', or .* LayerDecayOptimWrapperConstr",
            ),
            ("SGD", "weight_decy", "SGD does not read: .* Did you mean 'weight_decay'?"),
            (dict(type="Muon", lr=0.02, rest=dict(type="AdamW", lr=0.1)), "lr_scale", "AdamW does not read: "),
            (dict(type="SAM", base_optimizer=dict(type="SGD", lr=0.1)), "lr_scale", "SAM does not read: "),
        ],
    )
    @pytest.mark.filterwarnings("ignore:.*does not survive a deepcopy")  # a fact of SAM's
    def test_a_key_of_ready_groups_that_nothing_reads_is_told(self, optimizer, key, said):
        groups = [{"params": [nn.Parameter(torch.ones(2, 2))], key: 0.5, "part": "rest"} for _ in range(2)]
        groups += [{"params": [nn.Parameter(torch.ones(2, 2))], "part": "Muon"}]
        with pytest.warns(OptimzooWarning, match=rf"^2 of \d groups have '{key}', which {said}"):
            build_optimizer(groups, optimizer if isinstance(optimizer, dict) else dict(type=optimizer, lr=0.1))

    @pytest.mark.parametrize(
        ("optimizer", "group"),
        [
            (dict(type="AdamW"), dict(betas=(0.5, 0.9), name="body", group_name="layer_1", param_names=["weight"])),
            (dict(type="SGD", lr=0.1), dict(initial_lr=0.1, max_lr=0.1, min_lr=0.0, swa_lr=0.1, initial_momentum=0.9)),
            (dict(type="Muon"), dict(num_heads=1)),
            (dict(type="SAM", base_optimizer=dict(type="SGD", lr=0.1)), dict(momentum=0.9, rho=0.1)),
            (dict(type=type("Own", (torch.optim.SGD,), {}), lr=0.1), dict(lr_scale=0.5)),
        ],
    )
    @pytest.mark.filterwarnings("ignore:.*does not survive a deepcopy")  # a fact of SAM's
    def test_one_that_something_may_read_is_not(self, optimizer, group):
        built = build_optimizer([{"params": [nn.Parameter(torch.ones(2, 2))], **group}], optimizer)
        assert built.param_groups[0].items() >= group.items()

    def test_nor_are_those_that_an_optimizer_and_a_schedule_wrote_into_its_own_groups(self):
        parameter = nn.Parameter(torch.ones(2, 2))
        parameter.grad = torch.ones(2, 2)
        first = build_optimizer([parameter], dict(type="optimi.AdamW", lr=0.1))
        first.step()
        torch.optim.lr_scheduler.OneCycleLR(first, 0.1, 10, cycle_momentum=False)
        again = build_optimizer([dict(group) for group in first.param_groups], dict(type="optimi.AdamW", lr=0.1))
        assert again.param_groups[0].keys() >= {"step", "max_lr"}

    def test_an_unknown_name_is_placed(self, model):
        with pytest.raises(UnknownNameError, match=r"^optimizer\.type: "):
            build_optimizer(model, dict(type="Lyon"))

    @pytest.mark.parametrize("form", [lambda m: m, lambda m: m.parameters()], ids=["a model", "parameters"])
    def test_a_missing_library_is_placed(self, form, model, monkeypatch):
        monkeypatch.setitem(sys.modules, "lion_pytorch", None)
        with pytest.raises(MissingDependencyError, match=r"^optimizer\.type: "):
            build_optimizer(form(model), dict(type="Lion"))


class TestParamScheduler:
    @pytest.fixture
    def wrapper(self):
        return OptimWrapper(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0))

    def test_a_dict_a_list_and_nothing_are_understood(self, wrapper):
        cfg = dict(type="LinearLR", end=5)
        assert len(build_param_scheduler(wrapper, None)) == 0
        assert len(build_param_scheduler(wrapper, cfg)) == 1
        assert [type(s).__name__ for s in build_param_scheduler(wrapper, [cfg, dict(type="ConstantLR")])] == [
            "LinearLR",
            "ConstantLR",
        ]

    @pytest.mark.parametrize(
        ("cfg", "end"),
        [
            (dict(by_epoch=True), 12),
            (dict(by_epoch=False), 120),
            (dict(by="update"), 120),
            (dict(by_epoch=True, convert_to_iter_based=True), 120),
            (dict(by_epoch=True, end=3), 3),
        ],
    )
    def test_a_missing_end_is_the_end_of_the_run(self, cfg, end, wrapper):
        (schedule,) = build_param_scheduler(wrapper, dict(type="LinearLR", **cfg), epoch_length=10, max_epochs=12)
        assert schedule.end == end

    def test_a_schedule_by_update_ends_with_the_last_update_of_an_accumulating_run(self):
        wrapper = OptimWrapper(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0), accumulative_counts=4)
        (schedule,) = build_param_scheduler(wrapper, dict(type="LinearLR", by="update"), max_iters=10)
        assert schedule.end == 3

    def test_a_schedule_that_the_run_does_not_reach_is_an_error(self, wrapper):
        cfg = [dict(type="LinearLR", by_epoch=False, begin=50)]
        with pytest.raises(ConfigError, match=r"^param_scheduler\[0\]: .* begins at iter 50, and the run ends at 45"):
            build_param_scheduler(wrapper, cfg, epoch_length=45, max_epochs=1)

    def test_epochs_become_iterations(self, wrapper):
        cfg = dict(type="MultiStepLR", milestones=[2, 3], begin=1, end=4, convert_to_iter_based=True)
        (schedule,) = build_param_scheduler(wrapper, cfg, epoch_length=10)
        assert (sorted(schedule.milestones), schedule.begin, schedule.end, schedule.by) == ([20, 30], 10, 40, "iter")

    @pytest.mark.parametrize(
        ("cfg", "path", "said"),
        [
            (dict(type="LinerLR"), "param_scheduler.type", "Did you mean 'LinearLR'"),
            ([dict(type="LinearLR", end=5), dict(typ=1)], "param_scheduler[1]", "'type' is missing"),
            ([dict(type="LinearLR", strat_factor=1)], "param_scheduler[0].strat_factor", "Did you mean 'start_factor'"),
            ([dict(type="LinearLR", start_factor=-2)], "param_scheduler[0].start_factor", "a number"),
            ([dict(type="LinearLR", begin=5, end=5)], "param_scheduler[0].end", "larger than begin"),
            ([dict(type="LinearLR", end="5")], "param_scheduler[0].end", "wants a number"),
            ([dict(type="LinearLR", begin=[1])], "param_scheduler[0].begin", "a whole number"),
            ([dict(type="LinearLR", end=5.5)], "param_scheduler[0].end", "a whole number is wanted"),
            ([dict(type="LinearLR", by="epochs")], "param_scheduler[0].by", "Did you mean 'epoch'"),
            ([dict(type="MultiStepLR")], "param_scheduler[0].milestones", "needs a value for 'milestones'"),
            ([dict(type="MultiStepLR", milestones=3)], "param_scheduler[0].milestones", "a list of steps"),
            (
                [dict(type="LinearParamScheduler", param_name="momentun")],
                "param_scheduler[0].param_name",
                "Did you mean 'momentum'",
            ),
            (
                [dict(type="LinearLR", convert_to_iter_based=True)],
                "param_scheduler[0].convert_to_iter_based",
                "epoch_length=",
            ),
            ([dict(type="AdamW")], "param_scheduler[0].type", "no parameter scheduler 'AdamW'"),
            ("LinearLR", "param_scheduler", "described by a dict"),
        ],
    )
    def test_a_mistake_is_named_with_its_place(self, cfg, path, said, wrapper):
        with pytest.raises(ConfigError) as caught:
            build_param_scheduler(wrapper, cfg, max_epochs=12)
        assert (caught.value.path, said in str(caught.value)) == (path, True), str(caught.value)


def test_the_groups_are_logged_to_whoever_listens(model, caplog):
    with caplog.at_level("INFO", "optimzoo.groups"):
        build_optim_wrapper(model, dict(optimizer=dict(type="SGD", lr=0.1), paramwise_cfg=dict(bias_lr_mult=2.0)))
    (record,) = caplog.records
    assert "SGD: 2 parameter groups" in record.getMessage()


RUN = dict(
    optim_wrapper=dict(optimizer=dict(type="AdamW")),
    param_scheduler=[dict(type="LinearLR", end=5)],
    train_cfg=dict(max_epochs=1),
)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda model: build_optim_wrapper(model, RUN), "a run: pass what it has under 'optim_wrapper'"),
        (
            lambda model: build_param_scheduler(build_optimizer(model, "AdamW"), RUN),
            "a run: .* under 'param_scheduler'",
        ),
        (lambda model: build_optimizer(model, RUN["optim_wrapper"]), "a wrapper, which build_optim_wrapper takes"),
        (lambda model: build_optimizer("AdamW", model), "the model, or its parameters, come first"),
        (lambda model: build_optimizer(dict(type="AdamW"), model), "the model, or its parameters, come first"),
    ],
)
def test_what_is_given_in_the_place_of_something_else_is_told(build, said, model):
    with pytest.raises(ConfigError, match=said):
        build(model)


def test_what_trainers_ask_of_schedules_leads_to_those_that_they_take(model):
    schedules = build_param_scheduler(build_optimizer(model, "AdamW"), RUN["param_scheduler"])
    with pytest.raises(AttributeError, match="get_last_lr.; trainers take torch_scheduler"):
        schedules.get_last_lr()
    with pytest.raises(AttributeError, match="no attribute 'rate'$"):
        _ = schedules.rate
    assert len(copy.deepcopy(schedules)) == 1
