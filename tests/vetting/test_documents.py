"""The optimizer of docs/vetting.md and that of the example plugin are vetted as a reader would."""

import re

from tests.conftest import REPO

EXAMPLE = REPO / "examples" / "optimzoo-example-plugin"


def test_the_optimizer_of_the_page_has_no_fault(run, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (REPO / "docs" / "vetting.md").read_text(), re.S)
    assert len(blocks[0].strip().splitlines()) <= 20
    (tmp_path / "wobble.py").write_text(blocks[0])
    (tmp_path / "test_wobble.py").write_text(blocks[1])
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_wobble.py", path=[tmp_path])
    vetted = run("-m", "optimzoo", "vet", "wobble:Wobble", "--only", "needs,lr,arguments", path=[tmp_path])
    assert "wobble:Wobble" in vetted.stdout


def test_the_example_plugin_vets_its_optimizer(run):
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLE / "tests", "--rootdir", EXAMPLE, path=[EXAMPLE])
