#!/usr/bin/env bash
# flair 0.15.1, torch 2.13.0. Every log and file of a training shows the mean loss of a sample. The gradient is that of
# the sum: a batch of 32 steps 32 times as far as a single one at the same learning_rate, and the shorter last batch of
# an epoch by so much less. Halving mini_batch_size to fit the memory halves the rate too; doubling it doubles it.
# max_grad_norm is on by default (5), and hides this while the sums are above it, the more often the larger the batch:
# then the clip, not the loss, sets the length of the step. mini_batch_chunk_size leaves the step as it is.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 transformers==4.57.6 flair==0.15.1
cd "$dir" && HF_HUB_OFFLINE=1 FLAIR_CACHE_ROOT="$dir" "$dir/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import logging
import flair
import torch
from flair.data import Corpus, Sentence
from flair.datasets import FlairDatapointDataset
from flair.embeddings import DocumentTFIDFEmbeddings
from flair.models import TextClassifier
from flair.trainers import ModelTrainer
from flair.trainers.plugins import TrainerPlugin

logging.disable(logging.CRITICAL)

def sentence(label):
    made = Sentence("some words")
    return made.add_label("topic", label)

def corpus(size):
    made = [FlairDatapointDataset([sentence("a") for _ in range(n)]) for n in (size, 1, 1)]
    return Corpus(*made, sample_missing_splits=False)

both = Corpus(FlairDatapointDataset([sentence("a"), sentence("b")]), sample_missing_splits=False)
labels = both.make_label_dictionary("topic")

class Loss(TrainerPlugin):
    @TrainerPlugin.hook
    def metric_recorded(self, record):
        if record.name == ("train", "loss"):
            self.shown = record.value

def train(size, limit, **settings):
    """The loss that is shown for one batch of equal sentences, and how far the step goes."""
    words, loss = DocumentTFIDFEmbeddings([Sentence("some words")]), Loss()
    model = TextClassifier(words, label_type="topic", label_dictionary=labels)
    for weight in model.parameters():
        torch.nn.init.zeros_(weight)
    ModelTrainer(model, corpus(size)).train(
        "out", learning_rate=0.1, mini_batch_size=32, max_epochs=1, max_grad_norm=limit, plugins=[loss],
        save_final_model=False, **settings,
    )
    return round(loss.shown, 3), round(torch.cat([weight.flatten() for weight in model.parameters()]).norm().item(), 3)

shown, one = train(1, None)
chunks = dict(mini_batch_chunk_size=4)
for size, limit, more in ((1, None, {}), (8, None, {}), (32, None, {}), (32, None, chunks), (8, 5, {}), (32, 5, {})):
    loss, moved = train(size, limit, **more)
    print(f"{size} sentences, max_grad_norm={limit}, {more}: a loss of {loss} is shown, the weights move by {moved}")
    assert loss == shown and abs(moved - min(one * size, 0.1 * limit if limit else 100)) < 0.01
PYTHON
