"""pytorch-optimizer (Kim): most of the methods of the literature."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo
from optimzoo_plugins.library import register

NEEDS = {
    **dict.fromkeys(("DAdaptAdaGrad", "DAdaptAdam", "DAdaptAdan", "DAdaptLion", "DAdaptSGD", "Prodigy"), ("one_lr",)),
    **dict.fromkeys(("ScheduleFreeAdamW", "ScheduleFreeRAdam", "ScheduleFreeSGD", "SPlus"), ("modes",)),
    **dict.fromkeys(("AdaHessian", "SophiaH"), ("graph",)),
    "SAM": ("two_passes", "inner_class"),
    **dict.fromkeys(("FriendlySAM", "LookSAM", "WSAM"), ("own_state",)),  # that of the optimizer inside, beside its own
    **dict.fromkeys(("AdaLOMO", "GSAM", "LOMO"), ("own_backward",)),
    **dict.fromkeys(("Lookahead", "Magma", "SafeFP16Optimizer", "ScheduleFreeWrapper", "TRAC"), ("own_state",)),
    "BSAM": ("faulty",),
    **dict.fromkeys(("DeMo", "DistributedMuon"), ("process_group",)),
    "AdamMini": ("model",),
    "AliG": ("loss",),
    "LBFGS": ("closure", "one_group"),
    "OrthoGrad": ("inner",),
    "PCGrad": ("many_losses",),
    "SpectralSphere": ("matrices",),
}
MUONS = ("AdaGO", "AdaMuon", "DistributedMuon", "Muon", "MuonClip", "NorMuon")
GROUP_KEYS = dict.fromkeys(MUONS, ("use_muon",))
NOTES = {
    "BSAM": "it climbs to the second point and never comes back, so that every update adds to the loss, at any lr",
    "AdamS": "its decay grows without bound where gradients are zero, as in frozen or masked layers",
    **dict.fromkeys(MUONS, "each group says use_muon = true or false, by a rule of paramwise_cfg"),
}


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register its names."""
    register(zoo, NEEDS, every=("whole",), notes=NOTES, group_keys=GROUP_KEYS)
