"""Forms of hubs: Parquet files of Hugging Face; Croissant, metadata of data sets in JSON-LD."""

import hashlib
import io
import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from engine.analysis.exports.bundle import Bundle, Sample
from engine.analysis.exports.sinks import FolderSink, ZipSink

SPLITS = {"train": "train", "val": "validation", "test": "test"}
AT_ONCE = 100  # images of one row group
CARD = """\
---
configs:
- config_name: default
  data_files:
{files}
---

A data set with reviewed labels. Columns: `image`; `label`, after the review; `id`; `given_label`,
before it; `is_label_issue` and `label_quality` in [0, 1] of the given label, where known.

    datasets.load_dataset("FOLDER")
"""
COLUMNS = ("path", "label", "split", "id", "given_label")
OF_CROISSANT = (  # its words in the context
    "citeAs column equivalentProperty extract field fileObject fileProperty fileSet format "
    "includes isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated "
    "replace samplingRate separator source subField transform"
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "dct": "http://purl.org/dc/terms/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "conformsTo": "dct:conformsTo",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{word: f"cr:{word}" for word in OF_CROISSANT.split()},
}


def huggingface(bundle: Bundle, sink: FolderSink | ZipSink) -> None:
    """data/SPLIT.parquet with the image files as they came, and a card for `load_dataset`.

    Removed images are left out.
    """
    import pyarrow.parquet as parquet

    schema, files = _schema(bundle.classes), []
    for part, samples in groupby(bundle.samples(), key=lambda sample: sample.part):
        name = f"data/{SPLITS[part]}.parquet"
        files.append(f"  - split: {SPLITS[part]}\n    path: {name}")
        with sink.file(name) as path, parquet.ParquetWriter(path, schema) as writer:
            for rows in _groups(_row(bundle, sample) for sample in samples):
                writer.write_table(_as_table(rows, schema))
    sink.add("README.md", CARD.format(files="\n".join(files)).encode())


def _schema(classes: list[str]) -> Any:
    import pyarrow as pa

    label = {"names": classes, "_type": "ClassLabel"}
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "image": (pa.struct({"bytes": pa.binary(), "path": pa.string()}), {"_type": "Image"}),
        "label": (pa.int64(), label),
        "id": (pa.string(), {"dtype": "string", "_type": "Value"}),
        "given_label": (pa.int64(), label),
        "is_label_issue": (pa.bool_(), {"dtype": "bool", "_type": "Value"}),
        "label_quality": (pa.float64(), {"dtype": "float64", "_type": "Value"}),
    }
    features = {name: described for name, (_, described) in kinds.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([(name, kind) for name, (kind, _) in kinds.items()], metadata=metadata)


def _row(bundle: Bundle, sample: Sample) -> dict[str, Any] | None:
    if sample.label is None:
        return None
    known = sample.row is not None
    return {
        "image": {"bytes": sample.read(), "path": sample.name},
        "label": sample.label,
        "id": sample.id,
        "given_label": sample.given,
        "is_label_issue": bundle.is_flagged(sample.row) if known else None,
        "label_quality": float(bundle.issues.quality[sample.row]) if known else None,
    }


def _groups(rows: Iterator[dict[str, Any] | None]) -> Iterator[list[dict[str, Any]]]:
    """The rows that are not None, AT_ONCE together."""
    group: list[dict[str, Any]] = []
    for row in rows:
        if row is not None:
            group.append(row)
        if len(group) == AT_ONCE:
            yield group
            group = []
    yield group


def _as_table(rows: list[dict[str, Any]], schema: Any) -> Any:
    import pyarrow as pa

    return pa.Table.from_pylist(rows, schema=schema)


def croissant(bundle: Bundle, sink: FolderSink | ZipSink) -> None:
    """images/, labels.parquet with the COLUMNS, and croissant.json, which describes both.

    Removed images are left out. (Of a CSV, readers would take a class called NA as missing.)
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    rows = []
    for sample in bundle.samples():
        if sample.label is not None:
            path = f"images/{sample.name}"
            sink.add(path, sample.source or sample.read())
            label, given = bundle.classes[sample.label], bundle.classes[sample.given]
            rows.append((path, label, sample.part, sample.id, given))
    out = io.BytesIO()
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    parquet.write_table(pa.table(dict(zip(COLUMNS, columns, strict=True))), out)
    sink.add("labels.parquet", out.getvalue())
    described = metadata(bundle.run.config.dataset.rpartition("/")[2], out.getvalue())
    sink.add("croissant.json", json.dumps(described, indent=1).encode())


def metadata(name: str, table: bytes) -> dict[str, Any]:
    """The JSON-LD of Croissant 1.0 for images/ and a table with the COLUMNS."""

    def field(column: str) -> dict[str, Any]:
        source = {"fileObject": {"@id": "labels.parquet"}, "extract": {"column": column}}
        own = f"samples/{column}"
        return {
            "@type": "cr:Field", "@id": own, "name": own, "dataType": "sc:Text", "source": source,
        }  # fmt: skip

    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": "Images with reviewed labels.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "labels.parquet",
                "name": "labels.parquet",
                "contentUrl": "labels.parquet",
                "encodingFormat": "application/x-parquet",
                "sha256": hashlib.sha256(table).hexdigest(),
            },
            {
                "@type": "cr:FileSet",
                "@id": "images",
                "name": "images",
                "encodingFormat": "image/*",
                "includes": "images/**",
            },
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "samples",
                "name": "samples",
                "key": {"@id": "samples/path"},
                "field": [field(column) for column in COLUMNS],
            },
        ],
    }
