"""Small files, and words of a command line, that would take all the time or memory there is: an error in a second."""

import json

BOMBS = r"""
import json, resource, sys, time
from pathlib import Path
from optimzoo import load_config
from optimzoo.errors import OptimzooError

DEEP, LONG = 3_000, 900_000
WIDE = f"a: &a {{{', '.join(f'k{n}: 1' for n in range(3000))}}}\n"
nested = "[" * DEEP + "]" * DEEP
dotted, indexed = ".".join("a" * DEEP), "a" + "[0]" * DEEP

def aliases(form, first, last=12):
    lines = [f"a0: &a0 {first}", *(f"a{n}: &a{n} {form(f'*a{n - 1}')}" for n in range(1, last))]
    return "\n".join(lines)

for n in range(30):
    Path(f"pair{n}.json").write_text(json.dumps({"_base_": [f"pair{n + 1}.json"] * 2}))
Path("pair30.json").write_text('{"x": 1}')
for n in range(300):
    Path(f"chain{n}.json").write_text(json.dumps({"_base_": f"chain{n + 1}.json"}))
Path("large.json").write_text(json.dumps({f"key{n}": {"x": 1} for n in range(1000)}))
files = {
    "lists of lists.yaml": aliases(lambda a: f"[{', '.join([a] * 9)}]", "[x]"),
    "tables of tables.yaml": aliases(lambda a: f"{{{', '.join(f'k{n}: {a}' for n in range(9))}}}", "{x: 1}"),
    "merges of merges.yaml": aliases(lambda a: f"{{<<: [{', '.join([a] * 50)}], y: 1}}", "{x: 1}", 40),
    "one merged into many.yaml": f"{WIDE}b:\n" + "".join(f"  k{n}: {{<<: *a}}\n" for n in range(5000)),
    "many merged into one.yaml": f"{WIDE}b: {{<<: [{', '.join(['*a'] * 90_000)}]}}",
    "merges in a chain.yaml": "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: *a{n - 1}, k{n}: 1}}\n"
                                                          for n in range(1, 9000)),
    "merged into itself.yaml": "a: &a\n  <<: *a\n  b: 1",
    "in itself.yaml": "a: &a [*a]",
    "deep.yaml": f"a: {nested}",
    "deep blocks.yaml": "".join(" " * n + "a:\n" for n in range(1000)),
    "deep.json": f'{{"a": {nested}}}',
    "deep.toml": f"a = {nested}",
    "deep key.toml": f"{dotted} = 1",
    "very deep key.toml": f"{'.'.join('a' * (LONG // 2))} = 1",
    "deep table.toml": f"[{dotted}]",
    "long number.yaml": f"a: {'9' * LONG}",
    "long number.json": f'{{"a": {"9" * LONG}}}',
    "long number.toml": f"a = {'9' * LONG}",
    "long number in hexadecimal.toml": f"a = 0x{'f' * LONG}",
    "long number in sixtieths.yaml": f"a: {':'.join(['59'] * (LONG // 3))}",
    "long name.json": f'{{"{"a" * LONG}": 1}}',
    "long name.toml": f"{'a' * LONG} = 1",
    "many values.yaml": "a:\n" + "- 1\n" * (LONG // 5),
    "many values.json": f'{{"a": [{"1," * (LONG // 3)}1]}}',
    "many values.toml": f"a = [{'1,' * (LONG // 2)}1]",
    "many keys.toml": "".join(f"{n}=1\n" for n in range(LONG // 8)),
    "many tables.toml": "[[a]]\n" * (LONG // 6),
    "large.toml": f"a = '{'x' * 2_000_000}'",
    "base of itself.json": '{"_base_": "base of itself.json"}',
    "bases in a chain.json": '{"_base_": "chain0.json"}',
    "one base many times.json": json.dumps({"_base_": ["large.json"] * 20_000}),
    "base of a long name.json": json.dumps({"_base_": "x/" * 100_000 + "a.json"}),
    "base of a name that is none.json": '{"_base_": "a\\u0000.json"}',
}
for name, text in files.items():
    Path(name).write_text(text)
Path("two bases of two bases.json").write_text('{"_base_": ["pair0.json", "pair0.json"]}')
words = [f"{dotted}=1", f"{indexed}=1", f"a={nested}", f"a={'{a=' * DEEP}1{'}' * DEEP}", f"a={{{dotted}=1}}",
         f'a="]]]"{nested}', f"a={'9' * LONG}", f"a.{'b' * LONG}={'[' * 9}"]
Path("plain.json").write_text("{}")
many = [["a.b%d=1" % n for n in range(50_000)], ["a='" + "x" * 5_000_000 + "'"], [f"k={'x' * LONG}"] * 9]
calls = [("plain.json", words) for words in many]
calls += [(name, ()) for name in [*files, "two bases of two bases.json"]]
calls += [("plain.json", [word]) for word in words]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name, overrides in calls:
    begun = time.process_time()
    try:
        load_config(name, overrides)
        said = ""
    except OptimzooError as error:
        said = str(error)
    took = time.process_time() - begun
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps([name, [word[:40] for word in overrides], said, took, grown]))
"""


def test_each_is_a_short_error_within_a_second_and_200_megabytes(run):
    rows = [json.loads(line) for line in run("-c", BOMBS).stdout.splitlines()]
    assert len(rows) == 45
    for name, words, said, took, grown in rows:
        assert bool(said) == (name != "two bases of two bases.json"), (name, words)
        assert len(said) < 1000, (name, words, said)
        assert took < 1, (name, words, took)
        assert grown < 200, (name, words, grown)


WRONG = """
import json, resource, time
from optimzoo.cli.names import list_names
from optimzoo.errors import OptimzooError
from optimzoo.run.check import config_problems
from optimzoo.run.reading import read_run

LONG = 900_000
RUN = {
    "model": {"type": "torch.nn:Linear", "in_features": 8, "out_features": 1},
    "loss": "torch.nn:Linear", "work_dir": "run", "train_cfg": {"max_epochs": 1}, "train_dataloader": [0],
}

def run(**keys):
    return {**RUN, "optim_wrapper": {"optimizer": {"type": "AdamW", "lr": 0.1}}, **keys}

def wrapper(optimizer=(), **keys):
    return run(optim_wrapper={"optimizer": {"type": "AdamW", "lr": 0.1, **dict(optimizer)}, **keys})

def named(form, count=20_000):
    return [{"type": form % n} for n in range(count)]

keys = {f"weight_decai{n}": 1 for n in range(20_000)}
curve = {"type": "Linear", "start_factor": 0.5, "steps": 1}
configs = {
    "keys": run(**keys),
    "keys of a model": run(model={**RUN["model"], **keys}),
    "keys of an optimizer": wrapper(keys),
    "keys of a wrapper": wrapper(**keys),
    "keys of rules": wrapper(paramwise_cfg=keys),
    "keys of a schedule": run(param_scheduler={"type": "LinearLR", **keys}),
    "hooks": run(hooks=named("EMAHok%d")),
    "equal hooks": run(hooks=[{"type": "EMAHok"}] * 20_000),
    "metrics": run(metrics=["there_is_none%d:loss" % n for n in range(20_000)]),
    "schedules": run(param_scheduler=named("LinearLRR%d")),
    "schedules one after another": run(param_scheduler=[{"type": "LinearLR", "begin": n} for n in range(9000)]),
    "curves": run(param_scheduler={"type": "SequenceLR", "curves": [curve] * 20_000}),
    "groups": run(param_scheduler={"type": "LinearLR", "groups": ["x%d" % n for n in range(90_000)]}),
    "optimizers": run(optim_wrapper={f"m{n}": {"optimizer": {"type": f"Adm{n}"}} for n in range(9000)}),
    "parts": wrapper({"type": "Parts", "parts": [{"optimizer": {"type": "AdamWW"}}] * 9000}),
    "rules": wrapper(paramwise_cfg={"rules": [{"match": "x*", "lr_mul": 0.5}] * 20_000}),
    "own keys": wrapper(paramwise_cfg={"custom_keys": {f"k{n}": {"lr_mult": "x"} for n in range(20_000)}}),
    "milestones": run(param_scheduler={"type": "MultiStepLR", "milestones": ["x"] * 90_000}),
    "match": wrapper(paramwise_cfg={"rules": [{"match": ["x"] * 90_000, "lr_mult": 0.5}]}),
    **{f"long {slot}": run(**{slot: "[" * LONG}) for slot in ("device", "load_from", "loss", "metrics", "strategy")},
    "long type": wrapper({"type": "[" * LONG}),
    "long match": wrapper(paramwise_cfg={"rules": [{"match": "[" * LONG, "lr_mult": 0.5}]}),
}
config_problems(run())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def tell(name, call):
    begun = time.process_time()
    try:
        problems = call()
    except OptimzooError as error:
        problems = getattr(error, "problems", [error])
    took = time.process_time() - begun
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps([name, len(problems), max((len(str(p)) for p in problems), default=0), took, grown]))

for name, config in configs.items():
    tell(name, lambda: config_problems(config))
    tell(name, lambda: read_run(config))
tell("list", lambda: list_names("[" * 20_000))
"""


def test_a_thousand_mistakes_are_a_few_errors_within_a_second(run):
    rows = [json.loads(line) for line in run("-c", WRONG).stdout.splitlines()]
    assert len(rows) == 53
    for name, count, longest, took, grown in rows:
        assert 0 < count <= 101, name
        assert longest < 1000, (name, longest)
        assert took < 1, (name, took)
        assert grown < 200, (name, grown)
