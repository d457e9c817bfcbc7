"""The page of versions tells what pytest printed, and that nothing failed."""

import re

from bench.versions import PAGE, row

PRINTED = """SKIPPED [2] tests/vetting/test_known.py:49: could not import 'nadir': No module named 'nadir'
SKIPPED [1] tests/plugins/test_names.py:23: the library of timm is not installed
SKIPPED [1] tests/plugins/test_names.py:23: the library of timm is not installed
FAILED tests/parity/test_rules.py::test_one
1 failed, 41 passed, 4 skipped, 9 deselected, 1 error in 2.00s
"""


def test_a_row_counts_what_pytest_printed_and_names_the_libraries_that_were_not_there():
    assert row(PRINTED) == "41 | 2 | 4 | `nadir`, `timm`"


def test_on_every_python_and_torch_of_the_page_all_tests_pass():
    rows = re.findall(r"^\| (\d\S* \| \S+) \| (\d+) \| (\d+) \|", PAGE.read_text(), re.M)
    assert len(rows) >= 2
    assert {failed for _, _, failed in rows} == {"0"}, "run: make versions"
    assert all(int(passed) > 5000 for _, passed, _ in rows)
