#!/usr/bin/env bash
# stable-baselines3 2.9.2, torch 2.13.0. Setting learning_rate of a model trains on with the old rate: a copy that was made of it in the constructor
# is what is read. The new one is saved all the same, and a model that is loaded from the file trains with it: the run that was interrupted and the
# one that was not have two rates. Setting the rate of the optimizer's groups is written over before the next update.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 stable-baselines3==2.9.2 gymnasium==1.4.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import io
from stable_baselines3 import PPO

def rate(model):
    model.learn(64)
    return model.policy.optimizer.param_groups[0]["lr"]

model = PPO("MlpPolicy", "CartPole-v1", 0.01, n_steps=64, batch_size=64, n_epochs=1, seed=0, device="cpu")
assert rate(model) == 0.01
model.learning_rate = 0.0001
file = io.BytesIO()
model.save(file)
file.seek(0)
loaded = PPO.load(file, env=model.get_env(), device="cpu")
straight, resumed = rate(model), rate(loaded)
print(f"learning_rate is {model.learning_rate}: the model trains with {straight}, one loaded from its file with {resumed}")
assert (straight, resumed) == (0.01, 0.0001)
model.policy.optimizer.param_groups[0]["lr"] = 0.0001
assert rate(model) == 0.01
PYTHON
