"""The facts that travel with the bundled names: they are there, they are true, and what plugins declare agrees."""

from datetime import date

import pytest

from optimzoo import OPTIMIZERS
from optimzoo.names.entry import REFUSED, library_version
from optimzoo.names.facts import UNDRIVEN, plain_version
from optimzoo.vetting import vet
from optimzoo.vetting.report import MEASUREMENTS
from optimzoo_plugins.facts.__main__ import WITH

BUNDLED = {name: OPTIMIZERS.entry(name) for name in OPTIMIZERS if OPTIMIZERS.entry(name).bundled}
KNOWN = {name: entry for name, entry in BUNDLED.items() if entry.facts}
MEASURED = {name: entry for name, entry in KNOWN.items() if entry.installed}
CURRENT = [name for name, e in MEASURED.items() if MEASUREMENTS.keys() <= e.facts.rows.keys()]
OTHER_VERSION = [name for name, e in MEASURED.items() if e.facts.version != plain_version(library_version(e.library))]
DAY = date.today().toordinal()
SAMPLE = [*OTHER_VERSION, *(sorted(CURRENT)[(DAY * 20 + i) % len(CURRENT)] for i in range(20))]
MEASURABLE = {"closure", "matrices", "sparse", "modes", "process_group"}
MEASURABLE |= {"graph", "named", "model", "inner", "inner_class", "loss"}
"""The declared needs that are measured too."""
AGAIN = ("needs", "lr", "decay", "resume", "state", "gradients.after_step", "elementwise", "scale")
"""Facts that are soon measured."""


def test_every_name_is_measured_or_says_why_not(optimzoo):
    unknown = {name: entry.measured for name, entry in BUNDLED.items() if not entry.facts}
    assert unknown.keys() == {"HybridAdam", "Parts"}, "run: python -m optimzoo_plugins.facts, with these names"
    assert unknown["HybridAdam"].startswith("No extra has it: colossalai 0.5.0 wants torch 2.5.1 or older")
    assert unknown["HybridAdam"] in optimzoo("show", "HybridAdam").stdout.replace("\n", " ").replace("  ", "")
    assert "its facts are those of its parts" in optimzoo("show", "Parts").stdout


def test_what_cannot_be_driven_says_why():
    undriven = {name: entry for name, entry in KNOWN.items() if entry.facts.value("needs") in UNDRIVEN}
    assert {"CPUOffloadOptimizer", "FlashLion", "emerging_optimizers.SinkhornMuon"} <= undriven.keys()
    for name, entry in undriven.items():
        assert entry.facts.rows["needs"][2], name
        assert UNDRIVEN[entry.facts.value("needs")] in entry.measured


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_stored_of_a_name_is_whole(name):
    facts = KNOWN[name].facts
    assert facts.date >= "2026-11-28"
    assert {verdict for verdict, _, _ in facts.rows.values()} <= {"fine", "note", "fault", "unmeasured"}
    if facts.value("needs") not in UNDRIVEN:
        assert {"trains", "lr", "resume", "state", "groups.merge", "elementwise", "scale"} <= facts.rows.keys()


@pytest.mark.parametrize("name", dict.fromkeys(SAMPLE))
def test_a_sample_that_changes_from_day_to_day_is_measured_again(name):
    stored = MEASURED[name].facts.rows
    for fact in vet(name, only=AGAIN, **WITH.get(name, {})).facts:
        if stored.get(fact.fact, ["unmeasured"])[0] != "unmeasured":
            assert (fact.fact, fact.verdict, fact.value) == (fact.fact, *stored[fact.fact][:2])


@pytest.mark.parametrize("name", KNOWN)
def test_what_a_plugin_declares_is_what_was_measured(name):
    entry = KNOWN[name]
    needs = entry.facts.value("needs")
    of_one_kind = {"matrices"} if "group_keys" in needs else set()  # it was driven with the key that means matrices
    if needs not in UNDRIVEN and not REFUSED & set(entry.needs):
        declared = {*entry.needs, *(["closure"] if "two_passes" in entry.needs else [])}
        assert declared & MEASURABLE == set(needs.split()) & MEASURABLE - of_one_kind
    if entry.facts.value("groups.merge") == "same":
        assert "one_group" not in entry.needs


def test_names_are_found_by_their_facts(optimzoo):
    printed = optimzoo("list", "--kind", "optimizer", "--where", "resume=exact elementwise state<=4", "--json").stdout
    assert '"name": "Lion"' in printed
    assert '"name": "AdamW"' not in printed  # 8 bytes
    assert '"name": "Muon"' not in printed  # not elementwise
    failed = optimzoo("list", "--where", "state=<4", check=False)
    assert failed.returncode == 1
    assert "a condition is wanted, such as resume=exact, elementwise or state<=4, got 'state=<4'" in failed.stderr


def test_the_state_of_an_optimizer_inside_of_another_counts():
    assert OPTIMIZERS.entry("ZeroRedundancyOptimizer").facts.value("state") == 8.0  # AdamW's, in one process
    assert OPTIMIZERS.entry("timm.Lookahead").facts.value("state") == 4.0  # from the sixth update on


@pytest.mark.parametrize(
    ("name", "fact", "value"),
    [
        ("ADOPT", "gradients.after_step", "overwritten with weight_decay"),
        ("AdoptAtan2", "lr.tensor", "other numbers with weight_decay"),
        ("timm.Lars", "elementwise", "no with weight_decay"),
        *((name, "elementwise", "no") for name in ("AdamP", "timm.SGDP", "pytorch_optimizer.ASGD", "DAdaptLion")),
    ],
)
def test_what_a_default_or_a_few_updates_hide_is_known(name, fact, value):
    assert OPTIMIZERS.entry(name).facts.value(fact) == value


def test_show_tells_the_facts_with_their_versions(optimzoo):
    shown = optimzoo("show", "Rprop").stdout
    assert "lr: ignored (half the rate changes nothing" in shown
    assert "resume: exact" in shown
    assert "decay: it has no argument weight_decay" in shown
    assert "measured:" in shown
