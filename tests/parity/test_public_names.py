import mmengine.optim
import pytest

import optimzoo


@pytest.mark.parametrize("name", mmengine.optim.__all__)
def test_every_public_name_of_mmengine_is_one_here(name):
    assert name in optimzoo.__all__
    assert callable(getattr(optimzoo, name)) or name in ("OPTIMIZERS", "OPTIM_WRAPPER_CONSTRUCTORS")
