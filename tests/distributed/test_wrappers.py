"""Two processes train as one would on all of the data, and exchange gradients once per update."""

import pytest
import torch

from .stepping import network, train


def test_processes_agree_on_an_overflow(found):
    for rank in range(2):
        assert found(f"overflow-{rank}") == (["updated", "skipped", "updated"], 32.0)


@pytest.mark.parametrize("distributed", ["with_ddp", "with_fsdp2", "with_weights", "with_sharded_weights"])
def test_training_equals_that_of_one_process(distributed, found):
    model = network()
    norms = train(model)
    for rank in range(2):
        trained, found_norms = found(f"{distributed}-{rank}")
        assert found_norms == pytest.approx(norms, nan_ok=True)
        for name, value in model.state_dict().items():
            assert torch.allclose(trained[name], value, rtol=0, atol=1e-12), (rank, name)
