"""Two processes train as one would on all of the data, and exchange gradients once per update."""

import pytest
import torch

from .stepping import X, clipped_by_the_largest, network, train


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


def test_the_largest_gradient_clips_where_a_process_has_no_share_of_a_parameter(found):
    model = network().append(torch.nn.Linear(2, 1)).double()
    optimizer, norms = torch.optim.SGD(model.parameters(), lr=0.1), []
    for x in X:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1, norm_type=torch.inf).item())
        optimizer.step()
    assert max(norms) > 0.1
    for trained, found_norms in (clipped_by_the_largest(), found("largest-0"), found("largest-1")):
        assert found_norms == pytest.approx(norms)
        for name, value in model.named_parameters():
            assert torch.allclose(trained[name], value, rtol=0, atol=1e-12), name
