#!/usr/bin/env bash
# torch 2.15.0 and 2.13.0. One would expect a checkpoint of torch.distributed.checkpoint, which records its version nowhere a user sees, to be read by a release of a few months before.
# The description of every tensor has got a field more (its strides) in 2.15.0. What that release saves, 2.13.0 cannot read at all, not even the plain numbers in it:
# "metadata is None; ... too many values to unpack (expected 5)". 2.15.0 reads what 2.13.0 has saved. torch.save goes both ways. (torch 2.15.0 from PyPI is gigabytes.)
set -euo pipefail
export PIP_CONFIG_FILE=/dev/null  # a cap on releases that a machine may have set
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
for version in 2.13.0 2.15.0; do
  python3 -m venv "$dir/$version"
  "$dir/$version/bin/pip" install -q "torch==$version" numpy
done
cat > "$dir/save.py" <<'PYTHON'
import sys, torch
import torch.distributed.checkpoint as dcp
content = {"weight": torch.arange(4.0), "epoch": 3}
dcp.save(content, checkpoint_id=sys.argv[1])
torch.save(content, sys.argv[1] + ".pt")
PYTHON
cat > "$dir/load.py" <<'PYTHON'
import sys, torch
import torch.distributed.checkpoint as dcp
place = {"weight": torch.zeros(4), "epoch": 0}
assert torch.load(sys.argv[1] + ".pt")["epoch"] == 3
try:
    dcp.load(place, checkpoint_id=sys.argv[1])
    print("read: epoch", place["epoch"], "weight", place["weight"].tolist())
except dcp.CheckpointException as error:
    told = str(error)
    print("not read:", told[told.rindex("metadata is None"):].split("; rank local")[0])
PYTHON
for writer in 2.13.0 2.15.0; do
  "$dir/$writer/bin/python" -W ignore "$dir/save.py" "$dir/of-$writer"
  for reader in 2.13.0 2.15.0; do
    told=$("$dir/$reader/bin/python" -W ignore "$dir/load.py" "$dir/of-$writer" 2>/dev/null)
    echo "saved by $writer, loaded by $reader: $told"
    case "$writer $reader $told" in
      "2.15.0 2.13.0 not read: "*"too many values to unpack (expected 5)"*) ;;
      "2.15.0 2.13.0 "*|*"not read"*) exit 1 ;;
    esac
  done
done
