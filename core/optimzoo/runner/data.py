"""Data loaders from a config, and batches on a device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from optimzoo import calls
from optimzoo.errors import ConfigError, OptimzooError
from optimzoo.runner.objects import build_object, find_function, object_problems

SAMPLERS = ("DefaultSampler", "InfiniteSampler")
"""mmengine's samplers; both come to ``shuffle``, which is their only setting here and true by default."""


def dataloader_problems(cfg: Any, path: str) -> Iterator[OptimzooError]:
    """Yield what is wrong with the config of a data loader."""
    if not isinstance(cfg, Mapping):
        if not isinstance(cfg, Iterable) or isinstance(cfg, str):
            yield ConfigError(f"a DataLoader, another iterable of batches, or a dict is wanted, got {cfg!r}", path)
        return
    try:
        kwargs = _loader_kwargs(cfg, path)
    except OptimzooError as error:
        yield error
        return
    if isinstance(kwargs.get("dataset"), (str, Mapping)):
        yield from object_problems(kwargs["dataset"], Dataset, f"{path}.dataset")
    yield from calls.problems(DataLoader, kwargs, path)


def build_dataloader(cfg: Any, path: str, seed: int) -> Iterable[Any]:
    """Return the loader that ``cfg`` describes, or ``cfg`` itself if it is an iterable of batches.

    Args:
        cfg: The arguments of ``torch.utils.data.DataLoader``, where ``dataset`` is a dict with ``type``, and
            ``collate_fn`` may be a dotted path.
        path: Where in the config it stands.
        seed: Decides the shuffled order, together with the epoch.
    """
    calls.raise_all(dataloader_problems(cfg, path))
    if not isinstance(cfg, Mapping):
        return cfg  # type: ignore[no-any-return]
    kwargs = _loader_kwargs(cfg, path)
    if isinstance(kwargs["dataset"], Mapping):
        kwargs["dataset"] = build_object(kwargs["dataset"], Dataset, f"{path}.dataset")
    kwargs.setdefault("generator", torch.Generator().manual_seed(seed))
    loader: DataLoader[Any] = calls.call(DataLoader, kwargs, path)
    return loader


def start_epoch(loader: Iterable[Any], seed: int, epoch: int) -> None:
    """Make the order of the coming pass over ``loader`` depend on the seed and the epoch alone."""
    sampler = getattr(loader, "sampler", None)
    if sampler is not None and hasattr(sampler, "set_epoch"):
        sampler.set_epoch(epoch)
    generator = getattr(loader, "generator", None)
    if isinstance(generator, torch.Generator):
        generator.manual_seed(seed + epoch)


def to_device(batch: Any, device: torch.device) -> Any:
    """Return ``batch`` with its tensors on ``device``; dicts, lists and tuples keep their types."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: to_device(item, device) for key, item in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(item, device) for item in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(to_device(item, device) for item in batch)
    return batch


def batch_size(batch: Any) -> int:
    """Return the length of the first tensor in ``batch``, or 1 if it has none."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else 1
    items = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, (list, tuple)) else ()
    return next((batch_size(item) for item in items), 1)


def _loader_kwargs(cfg: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the arguments of DataLoader, with mmengine's way of naming samplers and collate functions resolved."""
    kwargs = dict(cfg)
    sampler = kwargs.get("sampler")
    if isinstance(sampler, Mapping):
        if sampler.get("type") not in SAMPLERS:
            wanted = " or ".join(map(repr, SAMPLERS))
            raise ConfigError(f"{wanted} is wanted, got {sampler.get('type')!r}", f"{path}.sampler.type")
        del kwargs["sampler"]
        kwargs.setdefault("shuffle", sampler.get("shuffle", True))
    collate = kwargs.get("collate_fn")
    if isinstance(collate, Mapping):
        collate = collate.get("type")
    if collate == "default_collate":
        del kwargs["collate_fn"]
    elif collate is not None:
        kwargs["collate_fn"] = find_function(collate, ("samples",), f"{path}.collate_fn")
    return kwargs
