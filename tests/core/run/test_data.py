"""Data loaders from configs, and what becomes of a batch."""

from collections import OrderedDict, UserDict, defaultdict, namedtuple

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler

from optimzoo.errors import ConfigError
from optimzoo.run.data.loaders import batch_size, epoch_length, read_dataloader, start_epoch, to_device
from optimzoo.run.data.sampling import split_loader

from .network import dataset, parameters

Pair = namedtuple("Pair", ["x", "y"])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(dataset())


@pytest.mark.parametrize(
    ("settings", "path", "said"),
    [
        (dict(shuffle="False"), "shuffle", "wants true or false for 'shuffle', got 'False'"),
        (dict(sampler=dict(type="DefaultSampler", shuffle="no")), "shuffle", "wants true or false for 'shuffle'"),
        (dict(sampler=dict(type="DefaultSampler", shufle=True)), "sampler", "'shufle'.*Did you mean 'shuffle'"),
        (dict(sampler=dict(shuffle=True)), "sampler", "the key 'type' is missing"),
        (dict(sampler=dict(type="RandomSampler")), "sampler.type", "'DefaultSampler' or 'InfiniteSampler' is wanted"),
        (dict(collate_fn=dict(type="default_collate", x=1)), "collate_fn", "got 'x'"),
        (dict(collate_fn=dict()), "collate_fn", "the key 'type' is missing"),
        (dict(batch_size=0), "batch_size", "at least 1"),
        (dict(num_workers=-1), "num_workers", "at least 0"),
        (dict(dataset=3), "dataset", "Dataset is wanted, or a dict with the key 'type', got 3"),
        (dict(dataset=None), "dataset", "Dataset is wanted, or a dict with the key 'type', got None"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_built(settings, path, said):
    with pytest.raises(ConfigError, match=said) as caught:
        read_dataloader({"dataset": dataset(), **settings}, "data")
    assert caught.value.path == f"data.{path}"


@pytest.mark.parametrize(
    ("batch", "size"),
    [
        (torch.zeros(3, 2), 3),
        ((torch.tensor(1.0), torch.zeros(5)), 5),
        ({"names": ["a", "b"], "x": [torch.zeros(4, 1)]}, 4),
        (Pair(None, torch.zeros(2)), 2),
        ("text", None),
        ({}, None),
    ],
)
def test_the_size_of_a_batch_is_the_length_of_the_first_tensor_that_has_one(batch, size):
    assert batch_size(batch) == size


@pytest.mark.parametrize(
    "batch",
    [
        [torch.zeros(1)],
        (torch.zeros(1), "text", 3),
        Pair(torch.zeros(1), "text"),
        OrderedDict(x=torch.zeros(1)),
        defaultdict(list, x=torch.zeros(1)),
        UserDict(x=torch.zeros(1)),
    ],
    ids=lambda batch: type(batch).__name__,
)
def test_a_batch_keeps_its_types_on_its_way_to_a_device(batch):
    moved = to_device(batch, torch.device("meta"))
    assert type(moved) is type(batch)
    before, after = (list(b.values() if hasattr(b, "values") else b) for b in (batch, moved))
    assert after[0].device.type == "meta"
    assert before[0].device.type == "cpu"
    assert after[1:] == before[1:]
    assert not isinstance(batch, defaultdict) or moved["missing"] == []


def test_an_object_with_a_method_to_moves_itself():
    packed = pack_sequence([torch.ones(3), torch.ones(2)])
    moved = to_device([packed], torch.device("meta"))[0]
    assert isinstance(moved, PackedSequence)
    assert moved.data.device.type == "meta"


def test_data_without_a_length_trains_by_epoch_and_by_iteration(make_runner, tmp_path):
    loader = DataLoader(Stream(), batch_size=4)
    assert epoch_length(loader) is None
    runner = make_runner(train_dataloader=loader)
    runner.train()
    assert (runner.epoch, runner.iter, runner.max_iters) == (3, 15, None)
    by_iter = make_runner(train_dataloader=loader, train_cfg=dict(max_iters=15), work_dir=tmp_path / "by iteration")
    by_iter.train()
    assert torch.equal(parameters(by_iter), parameters(runner))


@pytest.mark.parametrize("place", ["sampler", "batch_sampler", "sampler of the batch sampler"])
def test_samplers_are_told_the_epoch_wherever_they_are(place, make_runner):
    epochs = []

    class Told:
        def set_epoch(self, epoch):
            epochs.append(epoch)

    class ToldSampler(Told, RandomSampler):
        pass

    class ToldBatchSampler(Told, BatchSampler):
        pass

    data = dataset()
    loader = {
        "sampler": lambda: DataLoader(data, batch_size=4, sampler=ToldSampler(data)),
        "batch_sampler": lambda: DataLoader(data, batch_sampler=ToldBatchSampler(RandomSampler(data), 4, False)),
        "sampler of the batch sampler": lambda: DataLoader(
            data, batch_sampler=BatchSampler(ToldSampler(data), 4, False)
        ),
    }[place]()
    make_runner(train_dataloader=loader).train()
    assert list(dict.fromkeys(epochs)) == [0, 1, 2]


def test_the_order_depends_on_the_seed_and_the_epoch():
    def order(seed, epoch):
        loader = DataLoader(range(20), shuffle=True, generator=torch.Generator())
        start_epoch(loader, seed, epoch)
        return [int(x) for x in loader]

    assert order(1, 1) == order(1, 1)
    assert order(1, 1) != order(1, 2) != order(2, 2)


@pytest.mark.parametrize("kind", [dict, Pair])
def test_batches_may_be_dicts_and_named_tuples(kind, make_runner):
    def loss(model, batch):
        assert type(batch) is kind
        x, y = batch.values() if kind is dict else batch
        return (model(x) - y).square().mean()

    batches = [kind(x=x, y=y) for x, y in DataLoader(dataset(), batch_size=4)]
    make_runner(train_dataloader=batches, val_dataloader=batches, loss=loss).train()


def test_the_part_of_a_process_is_loaded_with_the_settings_of_the_whole():
    settings = dict(batch_size=2, num_workers=1, prefetch_factor=3, timeout=5, in_order=False, drop_last=True)
    part = split_loader(DataLoader(dataset(), shuffle=True, **settings), "data", rank=1, size=2, seed=0)
    assert {name: getattr(part, name) for name in settings} == settings
    assert len(part.sampler) == 10
