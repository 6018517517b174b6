"""Forms of tools for labels: cleanlab, Label Studio and FiftyOne."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import numpy as np

from engine.analysis.exports.bundle import Bundle, Sample, path_of
from engine.analysis.exports.sinks import FolderSink, ZipSink

LOCAL = "/data/local-files/?d="  # of Label Studio: a file below its document root
MIME = {".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


def cleanlab(bundle: Bundle, out: BinaryIO) -> None:
    """What cleanlab's functions take and return, as the arrays of an .npz file; N samples.

    labels (N,) int64 as given, pred_probs (N, C) float32 whose rows sum to 1, class_names (C,),
    ids (N,), predicted_label (N,), is_label_issue (N,) bool, label_quality (N,) in [0, 1], and
    the result of the review: corrected_labels (N,), removed (N,) bool.

    pred_probs are the network's own, averaged over the epochs before correction: not out-of-sample.
    """
    issues, final = bundle.issues, bundle.final
    probabilities = issues.pred_probs.astype(np.float64)
    probabilities /= probabilities.sum(1, keepdims=True)
    np.savez_compressed(
        out,
        labels=issues.given,
        pred_probs=probabilities.astype(np.float32),
        class_names=np.array(bundle.classes),
        ids=np.array(bundle.ids),
        predicted_label=issues.suggested,
        is_label_issue=np.isin(np.arange(len(issues.given)), issues.flagged),
        label_quality=issues.quality,
        corrected_labels=final.labels,
        removed=final.removed,
    )


def labelstudio(bundle: Bundle, path: Path, temporary: Path) -> None:
    """Tasks of Label Studio, as a JSON list written to temporary.

    They fit a project with <Choices name="label" toName="image"> for <Image name="image">.

    Each has data (image, id, split, given_label, and label_quality where it is known), an
    annotation with its final label, skipped (was_cancelled) where it belongs to no class, and a
    prediction with the suggested label and its probability as score. image is a path below the
    folder of `path`, Label Studio's document root for local files, or a data URI.
    """
    with open(temporary, "w", encoding="utf-8") as file:
        for number, task in enumerate(_tasks(bundle, bundle.root or path.parent)):
            file.write("[\n" if number == 0 else ",\n")
            json.dump(task, file, ensure_ascii=False)
        file.write("\n]\n")


def _tasks(bundle: Bundle, folder: Path) -> Iterator[dict[str, Any]]:
    classes, issues = bundle.classes, bundle.issues
    for sample in bundle.samples():
        data: dict[str, Any] = {
            "image": _image(sample, bundle, folder),
            "id": sample.id,
            "split": sample.part,
            "given_label": classes[sample.given],
        }
        annotation: dict[str, Any] = {"result": [], "was_cancelled": True}
        if sample.label is not None:
            annotation = {"result": [_choice(classes[sample.label])], "was_cancelled": False}
        task = {"data": data, "annotations": [annotation], "predictions": []}
        if sample.row is not None:
            data["label_quality"] = round(float(issues.quality[sample.row]), 6)
            probability = issues.probability[sample.row]
            score = {} if np.isnan(probability) else {"score": round(float(probability), 6)}
            result = [_choice(classes[issues.suggested[sample.row]])]
            task["predictions"] = [{"model_version": "MixNN Lab", "result": result} | score]
        yield task


def _choice(name: str) -> dict[str, Any]:
    value = {"choices": [name]}
    return {"from_name": "label", "to_name": "image", "type": "choices", "value": value}


def _image(sample: Sample, bundle: Bundle, folder: Path) -> str:
    if sample.source is None and not (bundle.originals and sample.id in bundle.originals):
        kind = MIME.get(Path(sample.name).suffix.lower(), f"image/{Path(sample.name).suffix[1:]}")
        return f"data:{kind};base64,{base64.b64encode(sample.read()).decode()}"
    return LOCAL + quote(path_of(sample, bundle, folder))


def fiftyone(bundle: Bundle, sink: FolderSink | ZipSink) -> None:
    """A FiftyOneImageClassificationDataset for each part: PART/data/ and PART/labels.json.

    Each label has the attributes given_label, decision and label_quality; that of an image that
    belongs to no class is null.
    """
    classes, issues, final = bundle.classes, bundle.issues, bundle.final
    labels: dict[str, dict[str, Any]] = {}
    for sample in bundle.samples():
        name = sample.name.removeprefix(f"{sample.part}/")
        sink.add(f"{sample.part}/data/{name}", sample.source or sample.read())
        target: dict[str, Any] | None = None
        if sample.label is not None:
            attributes: dict[str, Any] = {"given_label": classes[sample.given]}
            if sample.row is not None:
                attributes["decision"] = final.how[sample.row]
                attributes["label_quality"] = round(float(issues.quality[sample.row]), 6)
            target = {"label": sample.label, "attributes": attributes}
        labels.setdefault(sample.part, {})[str(Path(name).with_suffix(""))] = target
    for part, targets in labels.items():
        text = json.dumps({"classes": classes, "labels": targets}, ensure_ascii=False)
        sink.add(f"{part}/labels.json", text.encode())
