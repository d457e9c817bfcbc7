import pytest
import torch
from tests.core.grouping import settings_of
from torch import nn

from optimzoo.errors import OptimzooWarning


class TestBiasesByOtherNames:
    def model(self):
        return nn.ModuleDict({"attention": nn.MultiheadAttention(4, 1, add_bias_kv=True), "rnn": nn.GRU(4, 4)})

    OTHERS = ("attention.in_proj_bias", "attention.bias_k", "attention.bias_v", "rnn.bias_ih_l0", "rnn.bias_hh_l0")

    @pytest.mark.parametrize("key", ["bias_decay_mult", "bias_lr_mult"])
    def test_mmengines_key_leaves_them_and_says_so_once(self, key):
        with pytest.warns(OptimzooWarning) as said:
            settings_of(self.model(), {key: 0.0}, "weight_decay")
        (warning,) = said
        assert str(warning.message).startswith(f"paramwise_cfg.{key}: it is for parameters called 'bias', and leaves ")
        assert "all_biases=True takes them too" in str(warning.message)

    @pytest.mark.parametrize("taken", [True, False])
    def test_they_are_taken_or_left_as_the_config_says(self, taken):
        found = settings_of(self.model(), dict(bias_decay_mult=0.0, all_biases=taken), "weight_decay")
        assert {name for name, decay in found.items() if decay == 0.0} == {
            "attention.out_proj.bias", *(self.OTHERS if taken else ())
        }  # fmt: skip

    @pytest.mark.parametrize("quiet", [dict(bias_decay_mult=1.0), dict(bias_decay_mult=0.0, flat_decay_mult=0.0)])
    def test_nothing_is_said_where_it_makes_no_difference(self, quiet):
        model = nn.ModuleDict({"rnn": nn.GRU(4, 4), "linear": nn.Linear(4, 4)})
        settings_of(model, quiet, "weight_decay")

    def test_a_table_of_biases_is_none(self):
        model = nn.Linear(2, 2)
        model.relative_position_bias_table = nn.Parameter(torch.ones(9, 2))
        model.position_bias = nn.Parameter(torch.ones(3, 3))
        found = settings_of(model, dict(bias_decay_mult=0.0, all_biases=True), "weight_decay")
        assert [name for name, decay in found.items() if decay == 0.0] == ["bias"]
