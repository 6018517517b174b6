"""The network of a run after its last epoch, small enough for a player to compute its answers."""

from typing import Any

import numpy as np

from engine.errors import StoreError
from engine.reports import layout
from engine.reports.images import PNG_UP_TO
from engine.runs.folder import RunFolder

NETWORK = "small"  # of engine/models/networks.py: convolutions of 3 x 3 pixels, a mean, a head
POOLED = (False, True, True, False)  # by convolution: whether 2 x 2 max pooling follows
EPS = 1e-5  # of batch normalization


def network_block(run: RunFolder, number: int) -> bytes | None:
    """The block of a run's network, see README.md; None where the player cannot compute it.

    That is another network than "small", images that a recording does not hold exactly, predictions
    that are averaged over mirror images, and a network that was not kept after the last epoch or
    cannot be read. number: of the run in the recording.
    """
    info, config = run.info, run.config
    shape = tuple(info["data"]["shape"])
    exact = max(shape[1:]) <= PNG_UP_TO and shape[0] in (1, 3) and "mean" in info["data"]
    last = run.epochs[-1]["epoch"] if run.epochs else -1
    fits = info["network"] == NETWORK and exact and config.flip_average != "all"
    if not fits or info.get("parts") or last not in run.checkpoints():
        return None
    try:
        stored = run.load_checkpoint(last)
        weights = stored.get("average") or stored["model"]
        arrays = _folded({name: tensor.float().numpy() for name, tensor in weights.items()})
    except (StoreError, LookupError, AttributeError, TypeError, ValueError):
        return None  # a run can be watched without its network
    mean, std = (np.array(info["data"][key]) for key in ("mean", "std"))
    record: dict[str, Any] = {
        "run": number,
        "epoch": last,
        "shape": shape,
        "scale": (1 / (255 * std)).tolist(),
        "offset": (-mean / std).tolist(),
        "pooled": POOLED,
    }
    halves = {name: values.astype(np.float16).view(np.uint16) for name, values in arrays.items()}
    return layout.block(layout.NETWORK, layout.pack(record, halves))


def _folded(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights and biases by layer, batch normalizations folded into the convolutions before them.

    weights: of the network, by name. Raises LookupError or ValueError for another network.
    """
    names = [name.removesuffix(".weight") for name in weights if weights[name].ndim == 4]
    if len(names) != len(POOLED):
        raise ValueError(f"{len(names)} convolutions: the player computes {len(POOLED)}")
    arrays = {}
    for layer, name in enumerate(names):
        norm = name.removesuffix("0") + "1"
        variance = weights[f"{norm}.running_var"]
        scale = weights[f"{norm}.weight"] / np.sqrt(variance + EPS)
        arrays[f"weight{layer}"] = weights[f"{name}.weight"] * scale[:, None, None, None]
        arrays[f"bias{layer}"] = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    return arrays | {"head": weights["head.weight"], "head_bias": weights["head.bias"]}
