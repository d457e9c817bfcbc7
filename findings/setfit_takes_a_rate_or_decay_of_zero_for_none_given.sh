#!/usr/bin/env bash
# setfit 1.2.0, sentence-transformers 5.7.0, transformers 4.57.6, torch 2.13.0. Training a torch head end to end with
# body_learning_rate=(2e-5, 0.0), to keep the body of the model still in this phase, trains it at the head's rate, 0.01:
# five hundred times the rate of a fine-tuning. l2_weight=0.0 decays body and head by 0.01. Both zeros are taken for
# "not given", though None is there to say that. And head_learning_rate is the rate of the first five epochs only: a
# schedule that no argument names halves all rates every five epochs, so that the 16 epochs of the default end at an
# eighth.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 transformers==4.57.6 sentence-transformers==5.7.0 setfit==1.2.0
cd "$dir" && HF_HUB_OFFLINE=1 "$dir/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer
from setfit import SetFitHead, SetFitModel, Trainer, TrainingArguments
from transformers import BertConfig, BertModel, BertTokenizerFast

with open("words.txt", "w") as file:
    file.write("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"]))
BertTokenizerFast(vocab_file="words.txt").save_pretrained("bert")
sizes = dict(vocab_size=7, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
torch.manual_seed(0)
BertModel(BertConfig(**sizes)).save_pretrained("bert")

used, step = [], torch.optim.AdamW.step

def watched(optimizer, *args, **kwargs):
    used.append([(group["lr"], group["weight_decay"]) for group in optimizer.param_groups])
    return step(optimizer, *args, **kwargs)

torch.optim.AdamW.step = watched

def train(**settings):
    body = SentenceTransformer(modules=[Transformer("bert"), Pooling(8)], device="cpu")
    model = SetFitModel(model_body=body, model_head=SetFitHead(in_features=8, out_features=2, device="cpu"))
    data = Dataset.from_dict(dict(text=["good", "bad"] * 4, label=[0, 1] * 4))
    settings.update(batch_size=8, num_epochs=16, head_learning_rate=0.01, end_to_end=True, report_to="none")
    trainer = Trainer(model, args=TrainingArguments("out", show_progress_bar=False, **settings), train_dataset=data)
    first = [weight.detach().clone() for weight in body.parameters()]
    used.clear()
    trainer.train_classifier(data["text"], data["label"])
    return list(used), max((weight - before).abs().max().item() for weight, before in zip(body.parameters(), first))

for body_rate, l2_weight, first in ((1e-5, 0.5, (1e-5, 0.5)), (0.0, 0.0, (0.01, 0.01))):
    steps, moved = train(body_learning_rate=(2e-5, body_rate), l2_weight=l2_weight)
    print(f"asked for {body_rate} and a decay of {l2_weight}, the body gets {steps[0][0]} and moves by {moved:.1g}")
    print("    the head's rate in epochs 1, 6, 11, 16:", [epoch[1][0] for epoch in steps[::5]])
    assert steps[0][0] == first and (moved > 0.01) == (body_rate == 0)
    assert len(steps) == 16 and [epoch[1][0] for epoch in steps[::5]] == [0.01, 0.005, 0.0025, 0.00125]
PYTHON
