"""Tasks of Label Studio with annotations and predictions, as it exports them (JSON, JSON-MIN).

Tasks that `engine.analysis.exports` writes are read here as well. Nothing is downloaded.
"""

import base64
import binascii
import json
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from engine.data import manifest, tables
from engine.data.image_files import Listing
from engine.data.layout import PART_NAMES
from engine.data.memory import check_fits
from engine.data.parts import Notes, shown, some
from engine.data.tables import Row
from engine.errors import DataError

if TYPE_CHECKING:
    from engine.data.registry import Request

IMAGE = ("image", "img", "image_url", "url", "photo")  # keys of a task's data
LABEL = ("choice", *tables.LABEL)  # keys of JSON-MIN
UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # Label Studio puts it before the name of an upload


def listing_of(request: "Request") -> Listing:
    """The image files of the request's path."""
    return listing(request.path())


def listing(path: Path) -> Listing:
    """The images of the tasks in a JSON file.

    The label of a task is the choice of its annotations: the majority, or those marked as ground
    truth alone if there are some. A task without an annotation has that of its prediction with the
    highest score. Skipped tasks are left out. Images are data URIs, or files: a path below the
    JSON file's folder, or the only file of that name there. ids are data.id, or the image's path.
    Raises DataError.
    """
    if path.suffix.lower() != ".json" or not path.is_file():
        raise DataError(f"{path} is no .json file; labelstudio:FILE needs one of Label Studio")
    check_fits(f"{path}: reading it", 8 * path.stat().st_size)
    try:
        tasks = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON: {str(error)[:100]}") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise DataError(f"{path} is no list of tasks; export them as JSON or JSON-MIN")
    notes = Notes()
    rows = _rows(tasks, path.name, notes)
    return manifest.listed(rows, manifest.sources(rows, path.parent), path.name, notes)


def _rows(tasks: list[dict[str, Any]], name: str, notes: Notes) -> list[Row | None]:
    """What each task says; None for those without an image or a label, with a note."""
    rows: list[Row | None] = []
    skipped: list[int] = []
    without: list[int] = []
    predicted = n_ties = 0
    for number, task in enumerate(tasks, 1):
        where = f"{name}, task {number}"
        data = task["data"] if isinstance(task.get("data"), dict) else task
        image = next((data[key] for key in IMAGE if isinstance(data.get(key), str)), None)
        label, kind, tied = _label(task, data, where)
        if kind == "skipped":
            skipped.append(number)
        elif image is None or label is None:
            without.append(number)
        if image is None or label is None:
            rows.append(None)
            continue
        predicted, n_ties = predicted + (kind == "prediction"), n_ties + tied
        source, content = _image(image, where)
        own = data.get("id") if data is not task else None
        split = str(data.get("split") or "train").lower()
        if split not in PART_NAMES:
            raise DataError(
                f"{where} has the split {shown(split, 40)!r}; allowed are train, val and test"
            )
        own_id = source if own is None else str(own)
        rows.append(Row(own_id, source, PART_NAMES[split], label, None, content))
    for numbers, reason in ((skipped, "task that was skipped"), (without, tables.NO_LABEL)):
        notes.leave_out([f"{name}, task {number}" for number in numbers], reason)
    if skipped:
        notes.append(f"{name}: left out {len(skipped):,} skipped tasks: {some(skipped)}.")
    if without:
        notes.append(
            f"{name}: left out {len(without):,} tasks without an image or a label: {some(without)}."
        )
    if predicted:
        notes.append(
            f"{name}: {predicted:,} tasks without an annotation have the label of their prediction."
        )
    if n_ties:
        notes.append(
            f"{name}: {n_ties:,} tasks without a majority have the label of the first annotation."
        )
    return rows


def _label(task: dict[str, Any], data: dict[str, Any], where: str) -> tuple[str | None, str, bool]:
    """The label of a task; where it is from; and whether several are equally frequent."""
    if data is task and "annotations" not in task:  # JSON-MIN
        value = next((task[key] for key in LABEL if key in task), None)
        return tables.plain_label(value, where), "annotation", False
    given = _dicts(task.get("annotations", task.get("completions")))
    votes = [a for a in given if not a.get("was_cancelled")]
    votes = [a for a in votes if a.get("ground_truth")] or votes
    labels = [label for a in votes if (label := _choice(a, where)) is not None]
    if labels:
        label, tied = tables.majority(labels)
        return label, "annotation", tied
    if given and not votes:
        return None, "skipped", False
    scored = sorted(_dicts(task.get("predictions")), key=_score, reverse=True)
    choices = [choice for p in scored if (choice := _choice(p, where)) is not None]
    return choices[0] if choices else None, "prediction", False


def _choice(annotation: dict[str, Any], where: str) -> str | None:
    """The choice of one annotation or prediction. Raises DataError where there are several."""
    for result in _dicts(annotation.get("result")):
        value = result.get("value")
        if result.get("type") == "choices" and isinstance(value, dict):
            return tables.plain_label(value.get("choices"), where)
    return None


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [v for v in values if isinstance(v, dict)] if isinstance(values, list) else []


def _score(prediction: dict[str, Any]) -> float:
    score = prediction.get("score")
    return float(score) if isinstance(score, int | float) else 0.0


def _image(value: str, where: str) -> tuple[str, bytes | None]:
    """The path of an image, and its content where the task has it."""
    if value.startswith("data:"):
        head, _, body = value.partition(",")
        try:
            if not head.endswith(";base64"):
                raise ValueError
            return f"{where}.{head[11:-7] or 'png'}", base64.b64decode(body, validate=True)
        except (ValueError, binascii.Error):
            raise DataError(f"{where} has an image that is no data URI in base64") from None
    url = urlsplit(value)
    path = parse_qs(url.query).get("d", [unquote(url.path)])[0]  # /data/local-files/?d=PATH
    name = PurePosixPath(path)
    if "/data/upload/" in path:
        return UPLOADED.sub("", name.name, count=1), None
    return (path.lstrip("/") if url.scheme or url.query else path), None
