"""A constructor: the default one, and one more rule."""

from optimzoo import DefaultOptimWrapperConstructor


class HeadOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Multiplies the learning rate of every parameter under `head` by `paramwise_cfg["head_lr_mult"]`."""

    own_keys = ("head_lr_mult",)

    def param_options(self, module, prefix, name, param, is_dcn_module):
        options = super().param_options(module, prefix, name, param, is_dcn_module)
        if prefix.split(".")[0] == "head":
            options["lr"] = options.get("lr", self.base_lr) * self.paramwise_cfg.get("head_lr_mult", 1.0)
        return options
