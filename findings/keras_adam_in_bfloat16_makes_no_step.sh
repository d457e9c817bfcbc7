#!/usr/bin/env bash
# Keras 3.15.1 on torch 2.13.0. Under the dtype policy "bfloat16" Adam, AdamW and Lamb make no step: beta2, 0.999, is cast to the dtype of the
# weights before its power is taken, and is 1 in bfloat16, so that the bias correction, and with it the step, is 0. The loss is the same in every
# epoch, to the bit, without a word. ScheduleFreeAdamW has nan for a loss. SGD, RMSprop and Adamax train, and so does Adam with beta2=0.99, in
# float16 and under "mixed_bfloat16", where the weights are float32.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.13.0 keras==3.15.1
export KERAS_BACKEND=torch KERAS_HOME="$dir"
"$dir/venv/bin/python" -W ignore - <<'PYTHON'
import math, keras, numpy

def losses(policy, optimizer):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizer=optimizer, loss="mse")
    x = numpy.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    return model.fit(x, x.sum(1, keepdims=True), batch_size=64, epochs=50, shuffle=False, verbose=0).history["loss"]

of = keras.optimizers
for policy, make, seen in (
    ("bfloat16", lambda: of.Adam(0.02), "stands"), ("bfloat16", lambda: of.AdamW(0.02), "stands"), ("bfloat16", lambda: of.Lamb(0.02), "stands"),
    ("bfloat16", lambda: of.ScheduleFreeAdamW(0.02), "nan"), ("bfloat16", lambda: of.Adam(0.02, beta_2=0.99), "falls"),
    ("bfloat16", lambda: of.SGD(0.02), "falls"), ("bfloat16", lambda: of.RMSprop(0.02), "falls"), ("bfloat16", lambda: of.Adamax(0.02), "falls"),
    ("float16", lambda: of.Adam(0.02), "falls"), ("mixed_bfloat16", lambda: of.Adam(0.02), "falls"),
):
    optimizer = make()
    loss = losses(policy, optimizer)
    print(f"{policy} {type(optimizer).__name__} {getattr(optimizer, 'beta_2', '')}: {loss[0]:.4f} at first, {loss[-1]:.4f} after 50 epochs")
    assert seen == ("nan" if math.isnan(loss[-1]) else "stands" if len(set(loss)) == 1 else "falls" if loss[-1] < 0.7 * loss[0] else "?")
PYTHON
