"""The 2-D and 3-D layouts of a run's epochs: PCA immediately, UMAP from its own process."""

from functools import lru_cache

import numpy as np
import streamlit as st
from scipy.spatial import cKDTree

from app.server import run_cache
from engine.embedding import projection
from engine.embedding.maps import embedded_epochs, read_map

NEAREST = 10  # points nearest on the map, whose labels are compared


def pca(name: str, row: int, dims: int) -> np.ndarray:
    """(P, dims) float32 of a row, aligned with the first row's so that epochs do not rotate."""
    created = run_cache.run(name).info["created"]
    first = _pca(name, created, 0, dims)
    return first if row == 0 else _aligned_pca(name, created, row, dims)


@st.cache_data(max_entries=64, show_spinner=False)
def _pca(name: str, created: str, row: int, dims: int) -> np.ndarray:
    return projection.pca(run_cache.values(name, "panel_features", row), dims)


@st.cache_data(max_entries=256, show_spinner=False)
def _aligned_pca(name: str, created: str, row: int, dims: int) -> np.ndarray:
    first = _pca(name, created, 0, dims)
    return projection.pca(run_cache.values(name, "panel_features", row), dims, first)


def pca_box(name: str, row: int, n_rows: int, dims: int) -> np.ndarray:
    """(2, dims): minimum and maximum over rows 0, 1, 3, 7, ... and this one.

    All rows would take seconds in a long run; this selection rarely changes while a run grows.
    """
    rows = {2**power - 1 for power in range(n_rows.bit_length())} | {row}
    return union([pca(name, r, dims) for r in sorted(rows) if r < n_rows])


def umap_epochs(name: str, dims: int) -> list[int]:
    """Epochs whose UMAP is ready, in order."""
    return embedded_epochs(run_cache.run(name).folder, dims)


def umap(name: str, epoch: int, dims: int) -> np.ndarray | None:
    """(P, dims) float32; None if its file is missing or broken."""
    return read_map(run_cache.run(name).folder, dims, epoch)


def umap_box(name: str, dims: int) -> np.ndarray:
    """(2, dims): minimum and maximum over all epochs whose UMAP is ready."""
    run = run_cache.run(name)
    boxes = [
        _box(str(run.folder), run.info["created"], dims, epoch)
        for epoch in embedded_epochs(run.folder, dims)
    ]
    return union([box for box in boxes if box is not None])


@lru_cache(maxsize=4096)
def _box(folder: str, created: str, dims: int, epoch: int) -> np.ndarray | None:
    layout = read_map(folder, dims, epoch)
    return None if layout is None else union([layout])


def union(layouts: list[np.ndarray]) -> np.ndarray:
    """(2, dims): minimum and maximum over layouts (P, dims)."""
    return np.array(
        [np.min([v.min(0) for v in layouts], 0), np.max([v.max(0) for v in layouts], 0)]
    )


def label_agreement(layout: np.ndarray, *labelings: np.ndarray) -> list[float]:
    """For each labeling (P,): the share in [0, 1] of the NEAREST points around a point on the map
    (P, dims) that have its label.
    """
    k = min(NEAREST, len(layout) - 1)
    nearest = cKDTree(layout).query(layout, k + 1)[1]
    # with equal positions, the point itself need not come first
    others = nearest != np.arange(len(layout))[:, None]
    equal = [(labels[nearest] == labels[:, None]) & others for labels in labelings]
    return [float(same.sum() / others.sum()) for same in equal]
