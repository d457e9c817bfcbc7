#!/usr/bin/env bash
# stable-baselines3 2.9.2, torch 2.13.0. A rate that is a function of the remaining progress, such as a linear one, is read after each rollout:
# PPO's first update does not have the first rate, and the last one is at a progress of 0, with a rate of 0: a quarter of this short run is
# simulated and changes nothing. learn(..., reset_num_timesteps=False) does not go on at that 0 nor begin anew at the top: it counts the steps of
# both calls, and the second call begins below half of the rate.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 stable-baselines3==2.9.2 gymnasium==1.4.0
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

class Watch(BaseCallback):
    def _on_training_start(self):
        self.rates, self.weights = [], []

    def _on_step(self):
        return True

    def _on_rollout_start(self):
        self.note()

    def _on_training_end(self):
        self.note()

    def note(self):
        self.rates.append(round(self.model.policy.optimizer.param_groups[0]["lr"], 6))
        self.weights.append(torch.nn.utils.parameters_to_vector(self.model.policy.parameters()).detach().clone())

model = PPO("MlpPolicy", "CartPole-v1", lambda left: 0.01 * left, n_steps=64, batch_size=64, n_epochs=2, seed=0, device="cpu")
for reset, rates in ((True, [0.0075, 0.005, 0.0025, 0.0]), (False, [0.00375, 0.0025, 0.00125, 0.0])):
    watch = Watch()
    model.learn(256, callback=watch, reset_num_timesteps=reset)
    moved = [not torch.equal(*pair) for pair in zip(watch.weights, watch.weights[1:])]
    print(f"reset_num_timesteps={reset}: the rates of the four updates {watch.rates[1:]}, that changed a weight: {moved}")
    assert watch.rates[1:] == rates and moved == [True, True, True, False]
PYTHON
