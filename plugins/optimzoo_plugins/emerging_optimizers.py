"""emerging-optimizers (NVIDIA): orthogonalized and Kronecker-factored updates; wants Python 3.12."""

from __future__ import annotations

from optimzoo import hookimpl
from optimzoo.names.hookspecs import Zoo
from optimzoo_plugins.library import libraries, register

ANY_SHAPE = ("LaProp", "Lion", "PSGDPro")
NEEDS = {name: ("matrices",) for name in libraries()["emerging_optimizers"]["names"] if name not in ANY_SHAPE}
SPHERE = "its first step brings every column to the length 1, whatever the learning rate: not for trained weights"
NOTES = {
    **dict.fromkeys(("ObliqueAdam", "ObliqueSGD"), SPHERE),
    "SOAP": "the loss may leap to millions where a layer has fewer outputs than inputs: use_kl_shampoo = true",
    "Spel": "its first step makes every matrix orthogonal, whatever the learning rate: not for trained weights",
    "SinkhornMuon": "it refuses weights with a negative number, such as those that torch.nn.Linear draws",
}


@hookimpl
def optimzoo_register(zoo: Zoo) -> None:
    """Register its names."""
    register(zoo, NEEDS, every=("whole",), notes=NOTES)
