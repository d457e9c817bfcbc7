"""The oracle: mmengine-lite 0.10.7, quiet."""

import logging
import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of mmengine's dependencies, at import
    import mmengine.optim  # noqa: F401
    from mmengine.logging import MMLogger


@pytest.fixture(autouse=True, scope="session")
def _quiet():
    MMLogger.get_instance("parity", log_level="ERROR")
    logging.getLogger("mmengine").setLevel(logging.ERROR)
