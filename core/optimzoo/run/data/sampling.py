"""A part of the data for each process."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import Any

from torch.utils.data import DataLoader, DistributedSampler, IterableDataset, RandomSampler, SequentialSampler

from optimzoo.errors import ConfigError

KEPT = (
    *("batch_size", "collate_fn", "drop_last", "generator", "in_order", "multiprocessing_context", "num_workers"),
    *("persistent_workers", "pin_memory", "prefetch_factor", "timeout", "worker_init_fn"),
)
"""The arguments of a DataLoader that do not depend on which samples it loads."""


def split_loader(loader: Iterable[Any], path: str, rank: int, size: int, seed: int | None) -> Iterable[Any]:
    """Return a loader of the samples of one process.

    In training every process gets as many, for which up to ``size - 1`` samples come twice in a pass, or with
    ``drop_last`` are left out. In validation none does.

    Args:
        loader: A DataLoader over all samples. One that splits them itself, by a sampler with ``num_replicas``, is
            returned as it is.
        path: Where in the config it stands.
        rank: The number of the process.
        size: How many processes there are.
        seed: Decides the shuffled order, together with the epoch; None for validation.

    Raises:
        ConfigError: It cannot be told how to split it.
    """
    if hasattr(getattr(loader, "sampler", None), "num_replicas"):
        return loader
    if type(loader) is not DataLoader or isinstance(loader.dataset, IterableDataset) or not _is_plain(loader):
        raise ConfigError(
            "every process would get the same samples: give a DataLoader over an indexed data set, without a sampler "
            "of its own or with a torch.utils.data.DistributedSampler",
            path,
        )
    if not isinstance(loader.dataset, Sized) or len(loader.dataset) < size:
        raise ConfigError(f"a sample for each of the {size} processes is wanted", path)
    sampler: Iterable[int] = range(rank, len(loader.dataset), size)
    if seed is not None:
        shuffle = isinstance(loader.sampler, RandomSampler)
        sampler = DistributedSampler(loader.dataset, size, rank, shuffle, seed, loader.drop_last)
    return DataLoader(loader.dataset, sampler=sampler, **{name: getattr(loader, name) for name in KEPT})


def _is_plain(loader: DataLoader[Any]) -> bool:
    """Whether the loader batches by itself, in order or shuffled."""
    return loader.batch_size is not None and type(loader.sampler) in (SequentialSampler, RandomSampler)
