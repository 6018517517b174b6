"""Exact and near duplicates, their labels, and duplicates between parts (leakage).

Exact duplicates have equal pixels. Near duplicates are found among each sample's nearest neighbors
by the correlation of their thumbnails, which brightness, contrast, noise, scaling and compression
hardly change; shifted, cropped and mirrored copies are not found.
"""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.analysis.checks.features import CHUNK, Space, shrunk
from engine.analysis.checks.report import Check, check, count, skipped
from engine.analysis.checks.samples import Samples

if TYPE_CHECKING:
    from torch import Tensor

THUMBNAIL = 16  # pixels per side
N_CANDIDATES = 10  # nearest neighbors that are compared
BASE_NEIGHBOR = 5  # its distance is what is usual: small groups of duplicates do not change it
RELATIVE = 0.08  # distance of near duplicates, of the usual one
FARTHEST, NEAREST = 0.03, 0.0005  # 1 - correlation that is (not) enough whatever is usual

EXACT, NEAR = "Exact duplicates", "Near duplicates"
CONFLICTS, LEAKAGE = "Duplicates with different labels", "Leakage between the parts"


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Groups of M samples. Blank images are nobody's duplicates."""

    exact: np.ndarray  # (M,) int64, equal for samples with equal pixels or rows
    near: np.ndarray  # (M,) int64, also equal for near duplicates, directly or by way of others


def find_duplicates(samples: Samples, space: Space, blank: np.ndarray) -> Duplicates:
    """Group duplicates. blank: (M,) bool, samples that show nothing."""
    exact = _equal(samples, blank)
    vectors = _unit_vectors(samples)
    near = space.neighbors[:, :N_CANDIDATES]
    if not near.shape[1]:
        return Duplicates(exact, exact)
    apart = np.stack([1 - (vectors * vectors[column]).sum(1).numpy() for column in near.T], 1)
    flat = blank | (vectors.square().sum(1).numpy() < 0.5)  # without contrast
    usual = np.sort(apart[~flat], 1)[:, min(BASE_NEIGHBOR, near.shape[1]) - 1]
    limit = float(np.clip(RELATIVE * np.median(usual), NEAREST, FARTHEST)) if len(usual) else 0.0
    rows, columns = np.nonzero((apart <= limit) & ~flat[:, None] & ~flat[near])
    return Duplicates(exact, _joined(exact, rows, near[rows, columns]))


def duplicate_checks(samples: Samples, found: Duplicates) -> list[Check]:
    """Exact and near duplicates, those with different labels, and those in several parts."""
    noun = samples.noun
    exact = [g for g in groups_of(found.exact) if len(g) > 1]
    whole = [g for g in groups_of(found.near) if len(g) > 1]
    near = [g for g in whole if len(np.unique(found.exact[g])) > 1]
    conflicts = [g for g in whole if len(np.unique(samples.labels[g])) > 1]
    leaks = [g for g in whole if len(np.unique(samples.part_of[g])) > 1]
    n_exact, n_near = (sum(len(g) - 1 for g in groups) for groups in (exact, near))
    checks = [
        check(
            "exact_duplicates",
            EXACT,
            [samples.item(g, f"{len(g)} equal {noun}s", len(g)) for g in exact],
            f"{count(n_exact, noun)} repeat{'s' * (n_exact == 1)} another one exactly.",
            f"No {noun} is repeated.",
            "note",
        ),
        check(
            "near_duplicates",
            NEAR,
            [samples.item(g, f"{len(g)} nearly equal {noun}s", len(g)) for g in near],
            f"{count(n_near, noun)} nearly repeat{'s' * (n_near == 1)} another one.",
            f"No {noun} nearly repeats another one.",
            "note",
        ),
        check(
            "conflicting_duplicates",
            CONFLICTS,
            [samples.item(g, _labels_of(samples, g), len(g)) for g in conflicts],
            f"{count(len(conflicts), f'{noun} occurs', f'{noun}s occur')} more than once with "
            "different labels: at least one label of each is wrong, unless near duplicates differ "
            "in what the label means.",
            "No duplicates have different labels.",
            "error",
        ),
    ]
    return [*checks, _leakage(samples, leaks)]


def groups_of(numbers: np.ndarray) -> list[np.ndarray]:
    """The samples of each group, as arrays of ascending indices."""
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1) if len(order) else []


def _leakage(samples: Samples, leaks: list[np.ndarray]) -> Check:
    if len(samples.parts) < 2:
        why = "No test part: how well a network does on new samples stays unknown."
        return skipped("leakage", LEAKAGE, why)
    names = list(samples.parts)
    items, n_leaked = [], 0
    for group in leaks:
        inside = [names[part] for part in np.unique(samples.part_of[group])]
        n_leaked += int((samples.part_of[group] > samples.part_of[group].min()).sum())
        items.append(samples.item(group, " and ".join(inside), len(group)))
    verb = "is" if n_leaked == 1 else "are"
    others = " and ".join(names[1:])
    return check(
        "leakage",
        LEAKAGE,
        items,
        f"{count(n_leaked, samples.noun)} of {others} {verb} also in an earlier part, exactly or "
        "nearly: accuracy there will be too high.",
        f"No {samples.noun} of {others} is in another part.",
        "error",
    )


def _labels_of(samples: Samples, group: np.ndarray) -> str:
    kinds, counts = np.unique(samples.labels[group], return_counts=True)
    return " or ".join(samples.classes[kind] for kind in kinds[np.argsort(-counts)]) + "?"


def _equal(samples: Samples, blank: np.ndarray) -> np.ndarray:
    """(M,) int64: groups of equal images or rows; the number of a group is its first sample."""
    first: dict[bytes, int] = {}
    groups = np.arange(len(samples.labels))
    index = 0
    for part in samples.parts.values():
        values = part.images if part.images is not None else part.rows
        assert values is not None  # a part has one of them
        for value in np.ascontiguousarray(values):
            if not blank[index]:
                digest = hashlib.blake2b(value, digest_size=16).digest()
                groups[index] = first.setdefault(digest, index)
            index += 1
    return groups


def _unit_vectors(samples: Samples) -> "Tensor":
    """(M, D) float32 thumbnails or rows without their mean, of length 1; 0 without contrast."""
    import torch

    found = []
    for part in samples.parts.values():
        values = part.images if part.images is not None else part.rows
        for chunk in torch.as_tensor(values).split(CHUNK):
            x = (shrunk(chunk, THUMBNAIL) if chunk.ndim == 4 else chunk.float()).flatten(1)
            found.append(x)
    vectors = torch.nan_to_num(torch.cat(found))
    if samples.has_images:
        vectors -= vectors.mean(1, keepdim=True)
    else:  # of rows the mean of each column says nothing
        vectors -= vectors.mean(0)
        vectors /= vectors.std(0, correction=0).clamp(min=1e-12)
    length = vectors.norm(dim=1, keepdim=True)
    return vectors / length.clamp(min=1.0 if samples.has_images else 1e-12)


def _joined(groups: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Groups joined by pairs of samples; the number of a group is its first sample."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(groups)
    own = np.arange(n)
    a, b = np.concatenate([own, rows]), np.concatenate([groups, others])
    _, numbers = connected_components(coo_array((np.ones(len(a)), (a, b)), (n, n)), directed=False)
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    return first[inverse]
