# mypy: ignore-errors
"""The same network in PyTorch, as `process.py` has ours: python torch_run.py SETUP FOLDER

Runs in an environment of its own and knows nothing of this project but the setup and the file of weights.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

UNKNOWN_SHARE = 0.1  # of the categories that training is shown as unknown
CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}
CALL = 4  # steps between two looks at the clock


def main() -> None:
    """Builds, tells the facts, and answers with the seconds of a step."""
    setup = json.loads(sys.argv[1])
    torch.set_num_threads(setup["threads"])
    torch.manual_seed(1)
    facts, step = BUILDERS[setup["task"]](setup, Path(sys.argv[2]))
    for _ in range(2):
        step()
    facts["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    facts["version"] = torch.__version__
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        start, seconds, steps = time.perf_counter(), json.loads(line)["seconds"], 0
        while (elapsed := time.perf_counter() - start) < seconds or not steps:
            for _ in range(CALL):
                step()
            steps += CALL
        print(json.dumps(elapsed / steps), flush=True)


class Network(nn.Module):
    """The network of a spec with one recurrent layer, the plain head and no covariates."""

    def __init__(self, spec) -> None:
        super().__init__()
        h = spec["hparams"]
        self.spec, self.length, self.units = spec, h["segment_length"], h["units"]
        self.past, self.future = -(-h["context_used"] // self.length), -(-spec["horizon"] // self.length)
        self.quantiles = torch.tensor(spec["quantiles"])
        count = len(spec["quantiles"])
        self.centre = count // 2
        outward, inward = torch.triu(torch.ones(count, count)), -torch.tril(torch.ones(count, count))
        outward[: self.centre + 1], inward[self.centre :] = 0.0, 0.0
        self.outward = outward + inward
        self.embedding = nn.Linear(2 * self.length, self.units)
        self.recurrent = CELLS[spec["cell"]](self.units, self.units, batch_first=True)
        self.dropout = nn.Dropout(h["dropout"])
        self.head = nn.Linear(self.units, self.length * count)
        if h["linear"] == "ridge":  # fitted before training, and left alone by it
            self.linear = nn.Linear(h["context_used"], spec["horizon"], bias=False).requires_grad_(False)
        self.position = nn.Parameter(torch.randn(self.future, self.units))
        self.categories = nn.ModuleList(nn.Embedding(n + 1, self.units) for n in spec["inputs"]["categories"])

    def forward(self, inputs):
        """Quantiles [N, H, Q] in float64."""
        z, mask, location, scale = self.normalise(inputs["history"], inputs["observed"])
        missing = self.past * self.length - z.shape[1]
        parts = [nn.functional.pad(part, (missing, 0)).view(-1, self.past, self.length) for part in (z, mask)]
        static = self.static(inputs)
        _, state = self.recurrent(torch.relu(self.embedding(torch.cat(parts, dim=2)) + static))
        decoded = self.dropout(self.decode(self.position + static, state, len(z)))
        raw = self.head(decoded).view(len(z), -1, len(self.quantiles))[:, : self.spec["horizon"]]
        quantiles = raw[..., self.centre, None] + nn.functional.softplus(raw) @ self.outward
        if self.spec["hparams"]["linear"] == "ridge":
            quantiles = quantiles + self.linear(z)[:, :, None]
        forecast = quantiles.double() * scale[:, :, None] + location[:, :, None]
        return torch.expm1(forecast) if self.spec["hparams"]["transform"] == "log1p" else forecast

    def normalise(self, history, observed):
        """Values and mask in float32; location and scale [N, 1]."""
        seen = observed > 0
        x = torch.where(seen, history, 0.0)
        if self.spec["hparams"]["transform"] == "log1p":
            x = torch.log1p(x)
        steps = torch.arange(1, x.shape[1] + 1)
        last = x.gather(1, torch.where(seen, steps, 0).argmax(1)[:, None])
        used = self.spec["hparams"]["context_used"]
        mask = seen.double()[:, -used:]
        d = (x[:, -used:] - last) * mask
        count = mask.sum(1, keepdim=True).clamp(min=1.0)
        mean = d.sum(1, keepdim=True) / count
        centred = (d - mean) * mask
        scale = ((centred * centred).sum(1, keepdim=True) / count).sqrt()
        inverse = torch.where(scale > 0, 1.0 / torch.where(scale > 0, scale, 1.0), 0.0)
        offset = mean if self.spec["hparams"]["location"] == "mean" else torch.zeros_like(mean)
        return ((d - offset) * mask * inverse).float(), mask.float(), last + offset, scale

    def static(self, inputs):
        """What the network is told of the series [N, 1, units], or 0."""
        total = 0.0
        for place, table in enumerate(self.categories):
            codes = inputs["static_cat"][:, place]
            if self.training:
                codes = torch.where(torch.rand(codes.shape) < UNKNOWN_SHARE, 0, codes)
            total = total + table(codes)[:, None]
        return total

    def decode(self, x, state, windows):
        """One step of the cell for each future segment, all side by side, from the same state."""
        x = x.expand(windows, self.future, self.units).reshape(-1, 1, self.units)
        repeated = [part.repeat_interleave(self.future, dim=1) for part in (state if type(state) is tuple else [state])]
        outputs, _ = self.recurrent(x, tuple(repeated) if len(repeated) > 1 else repeated[0])
        return outputs.view(windows, self.future, self.units)

    @torch.no_grad()
    def load(self, weights) -> None:
        """Takes weights by the names and in the layouts of Keras."""
        weights = {name: torch.from_numpy(value) for name, value in weights.items()}
        for name in ("embedding", "head"):
            getattr(self, name).weight.copy_(weights[f"{name}/kernel"].T)
            getattr(self, name).bias.copy_(weights[f"{name}/bias"])
        self.position.copy_(weights["position"])
        if "linear/kernel" in weights:
            self.linear.weight.copy_(weights["linear/kernel"].T)
        for place, table in enumerate(self.categories):
            table.weight.copy_(weights[f"category_{place}"])
        of_inputs, bias = self.gates(weights["recurrent_0/kernel"]).T, weights["recurrent_0/bias"]
        biases = bias if bias.ndim > 1 else torch.stack([bias, torch.zeros_like(bias)])
        self.recurrent.weight_ih_l0.copy_(of_inputs)
        self.recurrent.weight_hh_l0.copy_(self.gates(weights["recurrent_0/recurrent_kernel"]).T)
        self.recurrent.bias_ih_l0.copy_(self.gates(biases)[0])
        self.recurrent.bias_hh_l0.copy_(self.gates(biases)[1])

    def gates(self, kernel):
        """Gates along the last axis in the order of PyTorch: a GRU has reset and update the other way round."""
        parts = list(kernel.split(self.units, dim=-1))
        return torch.cat([parts[1], parts[0], *parts[2:]] if len(parts) == 3 else parts, dim=-1)


def pinball_loss(network, target, forecast, loss_scale):
    """Mean pinball loss in units of each series' `loss_scale` [N]; missing targets add nothing."""
    scale = loss_scale[:, None]
    known = torch.isfinite(target) & (scale > 0)
    weight = torch.where(known, 1.0 / torch.where(scale > 0, scale, 1.0), 0.0)[:, :, None]
    error = ((torch.where(known, target, 0.0)[:, :, None] - forecast) * weight).float()
    return 2.0 * (network.quantiles * error + torch.relu(-error)).mean()


def load_exchange(path):
    """The network with the weights of a file, its batch, and what it is to forecast and to lose."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    part = {
        kind: {name.partition("/")[2]: value for name, value in arrays.items() if name.startswith(f"{kind}/")}
        for kind in ("inputs", "weights")
    }
    network = Network(json.loads(str(arrays["spec"])))
    network.load(part["weights"])
    inputs = {name: torch.from_numpy(value) for name, value in part["inputs"].items()}
    batch = inputs, torch.from_numpy(arrays["target"]), torch.from_numpy(arrays["loss_scale"])
    return network, batch, (arrays["forecast"], float(arrays["loss"]))


def differences(network, batch, expected):
    """How far the forecast is from the expected one, in units of its spread, and the loss from the expected loss."""
    inputs, target, scale = batch
    forecast, loss = expected
    network.eval()
    with torch.no_grad():
        own = network(inputs)
        lost = float(pinball_loss(network, target, own, scale))
    network.train()
    return {"forecast": float(np.abs(own.numpy() - forecast).max() / forecast.std()), "loss": abs(lost / loss - 1)}


def build_step(setup, folder):
    """A training step on one batch."""
    network, batch, expected = load_exchange(folder / setup["exchange"])
    inputs, target, scale = batch
    # The fused kernel is the fastest Adam that there is.
    trained = [weights for weights in network.parameters() if weights.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.001, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss = pinball_loss(network, target, network(inputs), scale)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()

    return {"differences": differences(network, batch, expected)}, step


def build_layer(setup, folder):  # noqa: ARG001
    """Forward and backward of a recurrent layer."""
    size = setup["layer"]
    layer = CELLS[setup["cell"]](size["inputs"], size["units"], batch_first=True)
    x = torch.randn(size["batch"], size["steps"], size["inputs"])

    def step() -> None:
        layer.zero_grad()
        layer(x)[0][:, -1].sum().backward()

    return {}, step


BUILDERS = {"step": build_step, "layer": build_layer}


if __name__ == "__main__":
    main()
