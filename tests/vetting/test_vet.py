"""Each faulty optimizer is caught for its fault, by a measurement and by the lines that reproduce it."""

import json
import pickle

import pytest
import torch

from optimzoo.errors import ConfigError
from optimzoo.vetting import vet
from optimzoo.vetting.child import ChildError, in_child
from optimzoo.vetting.report import MEASUREMENTS

from . import driven, optimizers

FAULTS = {
    "Backwards": ("trains", "no"),
    "ReadsLrOnce": ("lr", "ignored"),
    "UsesTheLastLr": ("lr", "late"),
    "Reinitialises": ("lr.zero", "moves"),
    "WritesIntoTheTensor": ("lr.tensor", "written into"),
    "OtherNumbersForATensor": ("lr.tensor", "other numbers"),
    "DividesByTheTensor": ("lr.tensor", "other numbers with weight_decay"),
    "WritesTheLr": ("lr.written", "written"),
    "SubtractsAConstant": ("decay", "a constant"),
    "RelativeDecay": ("decay", "relative to the first lr"),
    "DividesTheDecay": ("decay.frozen", "grow"),
    "KeepsItsStateToItself": ("resume", "attributes"),
    "CountsOutside": ("resume", "attributes"),
    "HasItsOwnGenerator": ("resume", "attributes"),
    "HasAString": ("state.kinds", "strings"),
    "KeepsTheFirstGroups": ("groups.added", "not trained"),
    "DecaysWithoutAGradient": ("gradients.missing", "moves"),
    "FailsOnALateGradient": ("gradients.late", "not trained"),
    "DividesByTheNorm": ("gradients.zero", "not finite"),
    "DividesByTheDeviation": ("shapes", "not one element"),
    "MakesContiguous": ("shapes.layout", "undoes transposed channels_last"),
    "OtherwiseWhenLarge": ("shapes.size", "changes"),
    "LeavesTheTail": ("shapes.moved", "not (), (1,), (5,), (67,), (3, 7), (67, 5), (17, 241)"),
    "LeavesVectorsInForeach": ("shapes.moved", "not (1,), (5,), (67,)"),
    "OverflowsInDouble": ("dtypes", "not float64"),
    "NormalisesTheMomentumInBfloat16": ("dtypes.bfloat16", "another state"),
    "OtherwiseInForeach": ("kernels", "foreach differs"),
    "LeavesHalfTheNumbersInForeach": ("kernels.half", "foreach differs in bfloat16"),
    "TakesAnything": ("arguments.misspelt", "taken"),
    "ForgetsNesterov": ("arguments.effect", "nesterov"),
    "LeavesAutogradOff": ("manners.error", "autograd stays off"),
    "DecaysByTheRoot": ("decay", "lr^0.5·wd·w"),
    "DecaysAllGroupsAlike": ("decay.groups", "shared"),
    "DecaysAsTheFirstGroup": ("decay.groups", "shared"),
    "DecaysByTheLrItIsBuiltWith": ("decay", "by the lr it is built with"),
    "KeepsItsMomentumInAClosure": ("resume", "inexact"),
    "KeepsItsOwnLrOnLoading": ("resume", "inexact"),
    "MixesUpStates": ("gradients.missing", "changes others"),
    "StopsAtAMissingGradient": ("gradients.missing", "stops others"),
    "LeavesGradients": ("gradients.zero_grad", "kept"),
    "ForgetsTheTail": ("kernels", "foreach differs"),
    "DrawsWithoutASeed": ("manners.random", "not repeatable"),
    "SharesItsCount": ("manners.instances", "share"),
    "CopiesShareTheMomentum": ("manners.copies", "another way"),
    "LoadsItsFirstGroup": ("resume.groups", "inexact"),
    "ClosureWithoutGradients": ("manners.closure", "without gradients"),
}

NOTES = {
    "ClearsItsGradients": ("gradients.after_step", "cleared"),
    "ScalesItsGradients": ("gradients.after_step", "overwritten"),
    "DecaysMatrices": ("decay", "lr·wd·w"),
    "DecaysItsGradients": ("gradients.after_step", "overwritten with weight_decay"),
    "MultipliesByTheCommonNorm": ("gradients.nonfinite", "spreads"),
    "IgnoresTheScaler": ("gradients.skipped", "changes"),
    "MovesTheLargest": ("shapes.moved", "some"),
    "TakesTheMeanAway": ("shapes.moved", "not (), (1,)"),
    "ComparesNumbers": ("dtypes.complex", "not complex64"),
    "WantsDenseGradients": ("dtypes.sparse", "not sparse"),
    "OtherwiseWhenCompiled": ("kernels.compile", "differs"),
    "TakesTheFirstLr": ("lr.groups", "shared"),
    "TakesAnyLr": ("arguments.lr", "takes negative NaN"),
    "ReadsMomentumOnce": ("groups.settings", "momentum"),
    "LeavesAFile": ("manners.litter", "the file wobble.log"),
    "Prints": ("manners.quiet", "prints"),
    "CopiesOfItsStateShare": ("resume.memory", "inexact"),
    "KeepsAWideState": ("resume.bfloat16", "inexact"),
    "KeepsEveryGradient": ("state", 52.0),
    "HasAnObject": ("state.weights_only", "refused"),
    "CountsBesideTheState": ("state.outside", "count"),
    "SlowerFromPlaceToPlace": ("groups.merge", "depends"),
    "WritesItsGroupsAnew": ("groups.keys", "lost param_names own_key"),
    "AveragesSquares": ("dtypes.forgets", "no"),
    "DividesByALittle": ("dtypes.small", "loop foreach"),
    "DividesMatricesByALittle": ("dtypes.small", "loop foreach"),
    "MultipliesByALot": ("dtypes.small", "loop foreach"),
    "DividesByItsOwnNorm": ("elementwise", "no"),
    "ProjectsAtRightAngles": ("elementwise", "no"),
    "DecaysByItsNorm": ("elementwise", "no with weight_decay"),
    "TakesTheSign": ("scale", "each"),
    "WantsAClosure": ("needs", "closure"),
    "WantsAnAccelerator": ("needs", "accelerator"),
    "GoesAround": ("needs", "inner_class"),
}
"""What is told without being a fault by itself."""
OF_A_LIBRARY = ("trains.twin", "manners.import")
"""What only a library of its own can have: a test beside this table."""


@pytest.fixture(scope="session")
def healthy(once):
    folder = once("healthy", lambda folder: (folder / "report").write_bytes(pickle.dumps(vet(optimizers.Healthy))))
    return pickle.loads((folder / "report").read_bytes())


@pytest.mark.parametrize(
    ("name", "fact", "value"),
    [
        ("SharesTheRate", "lr.tensor", "as a number"),
        ("TurnsOnRounding", "lr.tensor", "as a number"),
        ("KeepsItsCountInTheState", "state.outside", "nothing"),
    ],
)
def test_what_only_looks_like_a_fault_is_none(name, fact, value):
    found = vet(getattr(optimizers, name), only=[fact])[fact]
    assert (found.verdict, found.value) == ("fine", value)


@pytest.mark.parametrize(("name", "fact", "value"), [(name, *found) for name, found in FAULTS.items()])
def test_a_fault_is_found_for_its_reason_and_its_lines_show_it(name, fact, value, healthy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = vet(getattr(optimizers, name), only=[fact])[fact]
    assert (found.verdict, found.value) == ("fault", value)
    assert healthy[fact].verdict == "fine"
    with pytest.raises(ChildError, match="AssertionError"):
        in_child(exec, found.reproduction, {}, seconds=60)
    in_child(exec, found.reproduction.replace(name, "Healthy"), {}, seconds=60)


@pytest.mark.parametrize(("name", "fact", "value"), [(name, *found) for name, found in NOTES.items()])
def test_what_is_worth_a_note_is_found_for_its_reason(name, fact, value, healthy):
    found = vet(getattr(optimizers, name), only=[fact])[fact]
    assert (found.verdict, found.value) == ("note", value), found.why
    assert healthy[fact].verdict == "fine"


def test_each_fact_has_an_optimizer_that_fails_it():
    caught = {fact for fact, _ in (*FAULTS.values(), *NOTES.values())}
    assert {"needs", *MEASUREMENTS} - caught == set(OF_A_LIBRARY)


def test_a_function_that_makes_a_class_of_another_is_vetted_around_descent():
    report = vet("tests.vetting.optimizers:slowed", only=["manners.error", "lr"])
    assert report.cls == "tests.vetting.optimizers.manners:slowed(torch.optim.SGD)"
    assert report["lr"].value == "live"
    with pytest.raises(ChildError, match="autograd stays off"):
        in_child(exec, report["manners.error"].reproduction, {}, seconds=60)
    with pytest.raises(ConfigError, match="json:loads makes no class of optimizers of torch.optim.SGD: TypeError"):
        vet("json:loads", only=["lr"])


def test_a_library_that_is_noisy_and_has_one_method_under_two_names_is_told(tmp_path, monkeypatch):
    one, other = "class One(torch.optim.SGD):\n    pass\n", "class Other(One):\n    pass\n"
    (tmp_path / "quiet_zoo.py").write_text(f"import torch\n\n\n{one}")
    (tmp_path / "noisy_zoo.py").write_text(f"import torch\n\nprint('hello')\ntorch.manual_seed(0)\n\n\n{one}{other}")
    monkeypatch.syspath_prepend(str(tmp_path))
    quiet, noisy = (vet(f"{module}:One", only=OF_A_LIBRARY).facts for module in ("quiet_zoo", "noisy_zoo"))
    assert [(fact.verdict, fact.value) for fact in quiet] == [("fine", "none"), ("fine", "quiet")]
    assert [(fact.verdict, fact.value) for fact in noisy] == [("note", "Other"), ("note", "changes the seed, prints")]


DRIVEN = {
    "WantsAClosure": "closure",
    "WantsTheGraph": "graph",
    "WantsTheLoss": "loss",
    "WantsItsContext": "context",
    "WantsNames": "named",
    "WantsAKey": "group_keys",
    "WantsTheModel": "model",
    "WantsTheModelToo": "model",
    "WantsTwoLists": "params",
    "GoesAroundAnother": "inner",
    "GoesAroundAClass": "inner_class",
    "HasModes": "modes",
    "WantsMatrices": "matrices",
    "WantsBfloat16": "bfloat16",
    "WantsProcesses": "process_group",
}


@pytest.mark.parametrize(("name", "needs"), DRIVEN.items())
def test_what_is_driven_otherwise_is_measured_and_its_fault_reproduced(name, needs):
    report = vet(getattr(driven, name), only=["needs", "lr.written"])
    assert (report["needs"].value, report["lr.written"].value) == (needs, "written"), report["needs"].why
    with pytest.raises(ChildError, match="AssertionError: the lr was"):
        in_child(exec, report["lr.written"].reproduction, {}, seconds=60)


def test_the_command_prints_the_facts_and_fails_where_there_is_a_fault(optimzoo):
    good = optimzoo("vet", "AdamW", "--only", "lr,decay", "--with", "lr=1e-2", "--json")
    report = json.loads(good.stdout)
    assert report["class"] == "torch.optim.adamw:AdamW"
    assert {fact["fact"]: fact["value"] for fact in report["facts"]}["decay"] == "lr·wd·w"
    bad = optimzoo("vet", "torch.optim:Rprop", "--only", "lr", check=False)
    assert bad.returncode == 1
    assert "assert ratio < 0.9" in bad.stdout
    assert "optimzoo warns where a schedule would do nothing" in bad.stdout


def test_the_heading_names_each_version_once_and_the_last_line_counts(optimzoo, tmp_path):
    first, *_, last = optimzoo("vet", "AdamW", "--only", "lr.zero,scale").stdout.strip().splitlines()
    assert first.split(", torch ")[0] == "AdamW (torch.optim.adamw:AdamW)"
    assert first.count("torch 2") == 1
    assert last == "No fault. 2 facts: 2 fine."
    (tmp_path / "mine.py").write_text("import torch\n\n\nclass Mine(torch.optim.SGD):\n    pass\n")
    heading = optimzoo("vet", "mine:Mine", "--only", "lr.zero", cwd=tmp_path).stdout.splitlines()[0]
    assert heading.startswith("mine:Mine, mine without a version, torch 2")


def test_what_optimzoo_does_is_said_of_every_fault_and_promises_no_warning_of_what_it_does_not_know():
    known, unknown = (vet(cls, only=["lr"])["lr"] for cls in ("torch.optim:Rprop", optimizers.ReadsLrOnce))
    assert known.optimzoo == "warns where a schedule would do nothing"
    assert unknown.optimzoo == f"{known.optimzoo}, once the facts are measured at a build: set vet = true in its config"
    assert vet(optimizers.MakesContiguous, only=["shapes.layout"])["shapes.layout"].optimzoo.startswith("does nothing")


def test_the_lines_of_a_class_that_cannot_be_driven_end_in_its_own_error():
    report = vet(optimizers.Raises, only=["needs"])
    with pytest.raises(ChildError, match="no luck"):
        in_child(exec, report["needs"].reproduction, {}, seconds=60)


def test_the_scale_of_plain_descent_is_the_factor():
    assert vet("SGD", only=["scale"], lr=0.5)["scale"].value == "1.02e+03"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--with", "lrr=0.1"], "SGD has no argument 'lrr'. Did you mean 'lr'?"),
        (["--with", "momentum=x"], "SGD wants a number for 'momentum'"),
        (["--only", "kernals"], "there is no fact 'kernals'. Did you mean 'kernels"),
    ],
)
def test_a_misspelt_argument_or_fact_is_an_error_that_names_the_nearest(options, said, optimzoo):
    failed = optimzoo("vet", "SGD", *options, check=False)
    assert failed.returncode == 1
    assert said in " ".join(failed.stderr.split())
    with pytest.raises(ConfigError, match="Wobble has no argument 'lrr'"):
        vet(type("Wobble", (torch.optim.SGD,), {}), lrr=0.1)


def test_a_single_fact_may_be_asked_for_by_its_name_alone():
    assert [fact.fact for fact in vet("SGD", only="lr.zero", lr=0.1).facts] == ["lr.zero"]


def test_a_fact_or_a_setting_that_is_none_is_an_error(optimzoo):
    with pytest.raises(ConfigError, match="there is no fact 'resum'. Did you mean 'resume'"):
        vet("SGD", only=["resum"])
    assert "KEY=VALUE is wanted" in optimzoo("vet", "SGD", "--with", "lr", check=False).stderr


def test_an_error_whose_first_line_ends_in_a_colon_is_told_with_its_reason():
    class Explains(torch.optim.SGD):
        def __deepcopy__(self, memo):
            raise RuntimeError("it cannot be copied:\n\n  it holds a file\nand more")

    assert "it cannot be copied: it holds a file;" in vet(Explains, only=["manners.copies"])["manners.copies"].why


@pytest.mark.parametrize(
    ("name", "why", "seconds"),
    [
        ("Crashes", "its process died with exit code", 60),
        ("Hangs", "it took longer than", 3),
        ("Raises", "no luck", 60),
    ],
)
def test_a_crash_is_a_fact_and_not_the_end(name, why, seconds):
    report = vet(getattr(optimizers, name), only=["needs", "lr"], seconds=seconds)
    assert report["needs"].verdict == "fault"
    assert why in report["needs"].why
    assert report["lr"].verdict == "unmeasured"


def test_what_an_optimizer_writes_is_not_left_in_the_folder_of_the_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert vet(optimizers.LeavesAFile, only=["lr.written"])["lr.written"].verdict == "fine"
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_imported_before_it_is_used(run):
    run("-c", "import optimzoo.vetting, sys; assert 'torch' not in sys.modules")


@pytest.mark.parametrize(
    ("target", "kind", "why"),
    [
        (optimizers.HoldsStillAtFirst, "lr·wd·w", "of updates with zero gradients it moves nothing before number 12"),
        ("AdamW", "lr·wd·w", ""),
        ("SGD", "coupled", "it goes through the method, as a part of the gradient"),  # where it has a momentum
        ("Adam", "coupled", "it goes through the method, as a part of the gradient"),
        ("pytorch_optimizer.Shampoo", "coupled", "it goes through the method, as a part of the gradient"),  # of all
    ],
)
def test_the_kind_of_decay_is_that_of_the_first_update_that_it_moves_and_of_the_next(target, kind, why):
    found = vet(target, only=["decay"])["decay"]
    assert (found.verdict, found.value, found.why) == ("fine", kind, why)


@pytest.mark.parametrize(
    ("target", "kind", "also"),
    [
        (optimizers.DecaysByTheGradient, "with gradients", ""),
        (optimizers.ReadsNoDecay, "none", ", nor in 60 with gradients"),
    ],
)
def test_a_decay_that_acts_with_gradients_alone_is_one(target, kind, also):
    found = vet(target, only=["decay"])["decay"]
    why = f"in 12 updates with zero gradients weight_decay moves nothing{also}"
    assert (found.verdict, found.value, found.why) == ("note", kind, why)


def test_a_group_at_rate_0_that_moves_by_itself_shares_no_rate():
    assert vet("torch.optim:Rprop", only=["lr.groups"])["lr.groups"].value == "moves"


def test_an_argument_that_acts_late_or_by_little_is_not_one_without_an_effect():
    found = vet(optimizers.ComesToNesterovLate, only=["arguments.effect"])["arguments.effect"]
    assert (found.verdict, found.value) == ("note", "weight_decay nesterov")


@pytest.mark.parametrize("name", ["HoldsStillAtFirst", "AddsNoise", "RoundsItsWeights", "CountsInTheGroup"])
def test_what_is_unusual_is_no_fault(name):
    only = ("lr", "decay", "resume", "groups", "gradients", "manners.random", "manners.instances", "manners.copies")
    report = vet(getattr(optimizers, name), only=only)
    assert report.faults == []
    assert report["manners.random"].value == ("draws" if name == "AddsNoise" else "none")


@pytest.mark.parametrize("name", ["BeginsItsMeanLate", "HasItsMeanInAnObject", "HasOptimizersInAList"])
def test_the_state_counts_whenever_it_begins_and_wherever_it_is(name):
    found = vet(getattr(optimizers, name), only=["state"])["state"]
    assert (found.verdict, found.value) == ("fine", 8.0), found.why


def test_the_healthy_one_has_no_fault_and_nothing_unmeasured(healthy):
    assert [fact.fact for fact in healthy.facts if fact.verdict in ("fault", "unmeasured")] == []
