"""Features of images by a pretrained network of timm; computed once and kept beside the data.

Nothing is downloaded unless the weights are called "pretrained".
"""

import contextlib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.data.base import Data
from engine.errors import DataError, StoreError

FAMILY = "timm:"
PRETRAINED = "pretrained"  # instead of a file: timm downloads its own weights
SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")
BATCH = 64
PARTS = ("images", "val_images", "test_images")
WRAPPERS = ("state_dict", "model", "model_state_dict")  # keys of checkpoints that hold the weights


def features_of(
    data: Data, backbone: str, weights: str | None, folder: Path, device: str = "auto"
) -> Data:
    """The same data set with features (N, D, 1, 1) float32 for images, which it still shows.

    backbone: "timm:NAME". weights: a file, or "pretrained". folder: keeps the features of each
    data set, network and file of weights. device: "auto", "cpu" or "cuda". Raises DataError.
    """
    if data.is_rows:
        raise DataError(f"{data.name} has features already: a backbone needs images")
    name = _name(backbone)
    key = hashlib.sha1(usedforsecurity=False)
    for text in (data.fingerprint(), name, _digest(name, weights), _timm().__version__):
        key.update(f"{text}\n".encode())
    if data.val_images is not None:
        key.update(data.val_images.contiguous().numpy().tobytes())
    path = folder / "features" / f"{key.hexdigest()[:16]}.npz"
    arrays = _kept(path)
    if arrays is None:
        network = load_network(backbone, weights)
        on = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        arrays = {
            part: _features(network, getattr(data, part), on)
            for part in PARTS
            if getattr(data, part) is not None
        }
        _keep(path, arrays)
    tensors: dict[str, Any] = {
        part: torch.from_numpy(rows)[:, :, None, None] for part, rows in arrays.items()
    }
    note = f"Features: {tensors['images'].shape[1]} numbers per image by {backbone}."
    return replace(data, **tensors, shown=data, notes=(*data.notes, note))


def write_features(
    data: Data, backbone: str, weights: str | None, out: Path, folder: Path, device: str = "auto"
) -> tuple[int, int]:
    """Write features (N, D) of all parts to an .npy file, and a table of labels beside it.

    `features:OUT` reads both. Returns N and D. Raises DataError and StoreError.
    """
    import pyarrow
    import pyarrow.parquet as parquet

    if out.suffix != ".npy":
        raise DataError(f"{out}: allowed is a file that ends in .npy")
    rows = features_of(data, backbone, weights, folder, device)
    values, columns = [], {"id": [], "label": [], "split": []}  # type: ignore[var-annotated]
    labels_of = {"images": data.labels, "val_images": data.val_labels}
    for part, split in zip(PARTS, ("train", "val", "test"), strict=True):
        features, labels = getattr(rows, part), labels_of.get(part, data.test_labels)
        if features is None or labels is None or not len(labels):
            continue
        values.append(features.flatten(1).numpy())
        ids = data.ids if split == "train" else None
        columns["id"] += ids or [f"{split} {i}" for i in range(len(labels))]
        columns["label"] += [data.classes[label] for label in labels.tolist()]
        columns["split"] += [split] * len(labels)
    if data.true_labels is not None:
        n_others = len(columns["id"]) - data.n
        true = [data.classes[label] for label in data.true_labels.tolist()]
        columns["true_label"] = [*true, *[None] * n_others]
    whole = np.concatenate(values)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with open(out, "wb") as file:
            np.save(file, whole)
        parquet.write_table(pyarrow.table(columns), out.with_suffix(".parquet"))
    except OSError as error:
        raise StoreError(f"{out} cannot be written: {error}") from None
    return whole.shape


def image_size(backbone: str) -> int:
    """The side in pixels of the images that a network was trained on. Raises DataError."""
    network: Any = create(backbone)
    return int(network.pretrained_cfg["input_size"][-1])


def create(backbone: str) -> nn.Module:
    """timm's network of this name (timm:NAME), without its classifier. Raises DataError."""
    return _create(_name(backbone), pretrained=False)


def load_network(backbone: str, weights: str | None) -> nn.Module:
    """The same with its weights, in evaluation mode. Raises DataError."""
    name = _name(backbone)
    file = _file(name, weights)
    if file is None:
        try:
            return _create(name, pretrained=True).eval()
        except DataError:
            raise
        except Exception as error:  # of the network, the hub, the file
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise DataError(
                f"the weights of timm:{name} cannot be downloaded ({reason}): on a machine with a "
                f"connection, get them from huggingface.co/timm, then pass --weights FILE"
            ) from None
    network, state = _create(name, pretrained=False), _state_dict(file)
    own = network.state_dict()
    state = {key: value for key, value in state.items() if key in own}
    missing = [key for key in own if key not in state]
    wrong = [key for key, value in state.items() if value.shape != own[key].shape]
    if missing or wrong:
        what = f"no {missing[0]}" if missing else f"another shape of {wrong[0]}"
        raise DataError(
            f"{weights} does not fit timm:{name}: it has {what}; allowed are weights of exactly "
            "this network"
        )
    network.load_state_dict(state)
    return network.eval()


def _timm() -> Any:
    try:
        import timm
    except ImportError:
        raise DataError(
            "a backbone needs the library timm: pip install 'mixnn-lab[timm]'"
        ) from None
    return timm


def _name(backbone: str) -> str:
    name = backbone.removeprefix(FAMILY)
    if not backbone.startswith(FAMILY) or not _timm().is_model(name):
        close = _timm().list_models(f"*{name[:20]}*")[:5] if name else []
        guess = f"; similar: {', '.join(close)}" if close else ""
        raise DataError(
            f"backbone {backbone!r}: allowed is timm:NAME with a name of timm.list_models(){guess}"
        )
    return name


def _digest(name: str, weights: str | None) -> str:
    """What identifies the weights. Raises DataError where there are none."""
    file = _file(name, weights)
    if file is None:
        return PRETRAINED
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _file(name: str, weights: str | None) -> Path | None:
    """The file of the weights, None where timm downloads them. Raises DataError without weights."""
    if weights == PRETRAINED:
        return None
    if weights is None:
        raise DataError(
            f"timm:{name} needs its weights, and nothing is downloaded without being asked: pass "
            f"--weights FILE ({', '.join(SUFFIXES)}; timm's are on huggingface.co/timm), or "
            f"--weights {PRETRAINED} to download them"
        )
    path = Path(weights)
    if path.suffix not in SUFFIXES or not path.is_file():
        raise DataError(f"{path} is no file; weights need one of {', '.join(SUFFIXES)}")
    return path


def _create(name: str, *, pretrained: bool) -> nn.Module:
    network: nn.Module = _timm().create_model(name, pretrained=pretrained, num_classes=0)
    return network


def _state_dict(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a file of weights; no code in it is run. Raises DataError."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file  # timm needs it, too

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # untrusted bytes
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path} cannot be read as weights: {reason}") from None
    for key in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise DataError(f"{path} has no weights by name; allowed is a state_dict")
    return {key.removeprefix("module."): value for key, value in state.items()}


@torch.no_grad()
def _features(network: Any, images: Tensor, device: str) -> np.ndarray:
    """(N, D) float32 of images (N, C, H, W) uint8, resized to what a network of timm expects."""
    config = network.pretrained_cfg
    mean, std = (torch.tensor(config[key], device=device)[:, None, None] for key in ("mean", "std"))
    network.to(device)
    chunks = []
    for chunk in images.split(BATCH):
        pixels = image_batch(chunk.to(device).float() / 255, config["input_size"]).clamp(0, 1)
        chunks.append(network((pixels - mean) / std).flatten(1).float().cpu())
    return torch.cat(chunks).numpy() if chunks else np.empty((0, network.num_features), np.float32)


def image_batch(images: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Images (B, C, H, W) float as a network expects them: size (C, H, W), of gray C times gray."""
    channels, *sides = size
    if images.shape[1] != channels:
        images = images.mean(1, keepdim=True).expand(-1, channels, -1, -1)
    if list(images.shape[2:]) != sides:
        images = functional.interpolate(images, sides, mode="bicubic", antialias=True)
    return images


def _kept(path: Path) -> dict[str, np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {part: file[part] for part in file}
    except (OSError, ValueError, EOFError):  # missing, or left by a full disk
        return None


def _keep(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Keep the features for the next time, if there is room."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # as in the writer
        os.replace(temporary, path)
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)
