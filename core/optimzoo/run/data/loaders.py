"""Data loaders from a config, and batches on a device."""

from __future__ import annotations

import copy
import itertools
import multiprocessing
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sized
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ChainDataset, DataLoader, Dataset, IterableDataset, TensorDataset

from optimzoo import calls
from optimzoo.errors import ConfigError, Problems, shown
from optimzoo.run.objects import find_function, makes, read_object
from optimzoo.values import MARKS, one_of, plain, whole_number

SAMPLERS = ("DefaultSampler", "InfiniteSampler")
"""mmengine's samplers; both come to ``shuffle``, which is their only setting here and true by default."""

MOST_WORKERS = 1000
"""Processes of a loader: of many more no machine has memory enough."""
PARTS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "generator": (lambda value: isinstance(value, torch.Generator), "a torch.Generator, which no text describes,"),
    **{
        key: (lambda value: isinstance(value, Iterable) and not isinstance(value, (str, Mapping)), wanted)
        for key, wanted in (("sampler", "an iterable of indices"), ("batch_sampler", "an iterable of lists of indices"))
    },
    "multiprocessing_context": (
        lambda value: not isinstance(value, str) or value in multiprocessing.get_all_start_methods(),
        " or ".join(map(repr, multiprocessing.get_all_start_methods())),
    ),
}
"""Arguments of a DataLoader that it takes without a look: what fits, and what is wanted."""


def read_dataloader(cfg: Any, path: str) -> Any:
    """Return the call that makes the loader that ``cfg`` describes, or ``cfg`` itself if it is an iterable of batches.

    Args:
        cfg: The arguments of ``torch.utils.data.DataLoader``, where ``dataset`` is a dict with ``type``, and
            ``collate_fn`` and ``worker_init_fn`` may be dotted paths.
        path: Where in the config it stands.

    Raises:
        ConfigError: It is neither; one error lists all that is wrong.
    """
    if not isinstance(cfg, Mapping):
        if not isinstance(cfg, (Iterable, calls.Call)) or isinstance(cfg, str):
            raise ConfigError(f"a DataLoader, another iterable of batches, or a dict is wanted, got {shown(cfg)}", path)
        return cfg
    kwargs = _loader_kwargs(
        {key: value if key == "dataset" else plain(value, f"{path}.{key}") for key, value in cfg.items()}, path
    )
    with Problems() as problems:
        dataset = kwargs.get("dataset", ())
        if isinstance(dataset, (str, Mapping)) or not hasattr(dataset, "__getitem__"):
            kwargs["dataset"] = problems.catch(read_object, dataset, Dataset, f"{path}.dataset")
        for key, (fits, wanted) in PARTS.items():
            if kwargs.get(key) is not None and not fits(kwargs[key]):
                problems.add(ConfigError(f"{wanted} is wanted, got {shown(kwargs[key])}", f"{path}.{key}"))
        call = problems.catch(calls.read, DataLoader, kwargs, path)
        if kwargs.get("batch_size") is not None:
            problems.catch(whole_number, kwargs["batch_size"], f"{path}.batch_size", 1)
        workers = problems.catch(whole_number, kwargs.get("num_workers", 0), f"{path}.num_workers", 0)
        if workers and workers > MOST_WORKERS:
            problems.add(
                ConfigError(f"at most {MOST_WORKERS} processes are started, got {workers}", f"{path}.num_workers")
            )
        if call is not None and not problems.found:
            problems.catch(_try, call)
    return call


def _try(call: calls.Call) -> None:
    """Make the loader with a stand-in for the data set: which arguments exclude each other, it says itself."""
    dataset = call.kwargs["dataset"]
    is_stream = makes(dataset.target if isinstance(dataset, calls.Call) else type(dataset), IterableDataset)
    stand_in: Any = ChainDataset([]) if is_stream else TensorDataset(torch.zeros(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what depends on the machine, which the run tells
        replace(call, kwargs={**call.kwargs, "dataset": stand_in}).build()


def build_dataloader(cfg: Any, path: str, seed: int) -> Iterable[Any]:
    """Return the loader that ``cfg`` describes; its shuffled order follows from the seed and the epoch."""
    loader = read_dataloader(cfg, path)
    if isinstance(loader, calls.Call):
        loader = loader.build(generator=torch.Generator().manual_seed(seed))
    return loader  # type: ignore[no-any-return]


def epoch_length(loader: Iterable[Any]) -> int | None:
    """Return the number of batches in a pass over ``loader``, or None if it cannot tell."""
    try:
        return len(loader)  # type: ignore[arg-type]
    except TypeError:  # a DataLoader has a length, but not over a data set without one
        return None


def start_epoch(loader: Iterable[Any], seed: int, epoch: int) -> None:
    """Make the order of the coming pass over ``loader`` depend on the seed and the epoch alone."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    samplers = getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None)
    part: Any
    for part in (loader, *samplers):
        if hasattr(part, "set_epoch"):
            part.set_epoch(epoch)
        generator = getattr(part, "generator", None)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(seed + epoch)


def sample_counts(loader: Iterable[Any]) -> Iterator[int | None]:
    """Yield the number of samples in each batch of ``loader`` as far as it can tell, and then None for ever."""
    if isinstance(loader, DataLoader) and loader.batch_size is not None and isinstance(loader.sampler, Sized):
        whole, rest = divmod(len(loader.sampler), loader.batch_size)
        yield from itertools.repeat(loader.batch_size, whole)
        if rest:
            yield rest
    yield from itertools.repeat(None)


def to_device(batch: Any, device: torch.device) -> Any:
    """Return ``batch`` with its tensors, and what has a method ``to``, on ``device``; containers keep their type."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if hasattr(batch, "to"):
        return batch.to(device)
    if isinstance(batch, Mapping):
        moved = {key: to_device(item, device) for key, item in batch.items()}
        if not isinstance(batch, MutableMapping):
            return moved
        copied = copy.copy(batch)  # what it holds besides its items stays: a default factory, attributes
        copied.update(moved)
        return copied
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(item, device) for item in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(to_device(item, device) for item in batch)
    return batch


def batch_size(batch: Any) -> int | None:
    """Return the length of the first tensor in ``batch`` that has one, or None."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else None
    items = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, (list, tuple)) else ()
    return next((size for size in map(batch_size, items) if size is not None), None)


def _loader_kwargs(cfg: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the arguments of DataLoader, with mmengine's way of naming samplers and collate functions resolved."""
    kwargs = dict(cfg)
    if isinstance(kwargs.get("sampler"), Mapping):
        sampler = _named(kwargs.pop("sampler"), f"{path}.sampler", ("shuffle",))
        one_of(sampler["type"], SAMPLERS, f"{path}.sampler.type")
        kwargs.setdefault("shuffle", sampler.get("shuffle", True))
    collate = kwargs.get("collate_fn")
    if isinstance(collate, Mapping):
        collate = _named(collate, f"{path}.collate_fn")["type"]
    if isinstance(collate, str) and collate == "default_collate":
        del kwargs["collate_fn"]
    elif collate is not None:
        kwargs["collate_fn"] = find_function(collate, ("samples",), f"{path}.collate_fn")
    if kwargs.get("worker_init_fn") is not None:
        kwargs["worker_init_fn"] = find_function(kwargs["worker_init_fn"], ("worker",), f"{path}.worker_init_fn")
    return kwargs


def _named(cfg: Mapping[str, Any], path: str, keys: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """Return ``cfg`` if it has the key ``type`` and none but ``keys`` beside it."""
    if "type" not in cfg:
        raise ConfigError("the key 'type' is missing", path)
    for key in cfg:
        one_of(key, ("type", *keys, *MARKS), path)
    return cfg
