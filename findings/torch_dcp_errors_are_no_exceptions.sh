#!/usr/bin/env bash
# torch 2.13.0. One would expect what torch.distributed.checkpoint raises to be caught by "except Exception", as a loop does that falls back to an older checkpoint.
# CheckpointException is a BaseException, as KeyboardInterrupt is: the fallback is never reached, and the run ends. It wraps what went wrong, so that neither
# FileNotFoundError (no checkpoint there) nor RuntimeError (a key is missing) catches it either. It is so in one process without torch.distributed too.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 numpy
cd "$dir"
"$dir/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import torch
import torch.distributed.checkpoint as dcp

def caught_by(load):
    for kind in (FileNotFoundError, RuntimeError, Exception, BaseException):
        try:
            load()
        except kind as error:
            return kind.__name__, type(error).__name__
        except BaseException:
            continue

dcp.save({"weight": torch.ones(2)}, checkpoint_id="saved")
cases = {
    "no checkpoint there": lambda: dcp.load({"weight": torch.zeros(2)}, checkpoint_id="nowhere"),
    "a key is missing": lambda: dcp.load({"other": torch.zeros(2)}, checkpoint_id="saved"),
    "another shape": lambda: dcp.load({"weight": torch.zeros(3)}, checkpoint_id="saved"),
}
for name, load in cases.items():
    found = caught_by(load)
    print(f"{name}: {found[1]}, first caught by {found[0]}")
    assert found == ("BaseException", "CheckpointException"), found
assert not issubclass(dcp.CheckpointException, Exception)
PYTHON
