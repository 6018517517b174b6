"""CSV: no cell is executed by a spreadsheet, round trips are exact, one module writes it."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis.label_export import export
from engine.files import frame_csv, raw_cell, rows_text, safe_cell
from engine.runs.folder import RunFolder
from engine.runs.table import save_table
from tests.conftest import blobs
from tests.runs.test_folder import write_run

ROOT = Path(__file__).resolve().parents[1]
FORMULAS = (
    "=cmd|'/c calc'!A0", "@SUM(1+1)", "+1", "-2+3", "\t=1", "\r=1", "\n=1", " =1", "'=1",
    "＝1", "＋1", "－1", "＠x",  # noqa: RUF001
)  # fmt: skip
STARTS = "=+-@\t\r\n＝＋－＠"  # noqa: RUF001


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_a_spreadsheet_runs_gets_an_apostrophe(text):
    assert safe_cell(text) == "'" + text
    assert raw_cell(safe_cell(text)) == text


def test_numbers_and_harmless_texts_stay():
    for value in (-1, -0.5, np.float32(-2), None, "", "a-b", "1-2", "image 3.png", "it's", "'t"):
        assert safe_cell(value) is value
    assert safe_cell("-1.png") == "'-1.png"


@given(st.text(alphabet="=+-@'\t\r a1", max_size=6))
def test_every_text_comes_back(text):
    safe = safe_cell(text)
    assert raw_cell(safe) == text
    assert safe.lstrip(" ")[:1] not in [*STARTS]


def test_frames_keep_their_numbers_and_neutralize_heads_too():
    frame = pd.DataFrame({
        "=head": ["-1.png", "b", None], "n": [-1, 2, 3], "w": pd.array([-1, None, 3], "Int64"),
        "kind": pd.Categorical(["@x", "y", "y"]), "mixed": pd.Series(["=x", -1, 1.5], dtype=object),
        "s": pd.array(["+1", "a", None], "string"), "f": [-0.25, np.nan, 1e-9],
    })  # fmt: skip
    kept = frame.copy(deep=True)
    rows = list(csv.reader(io.StringIO(frame_csv(frame))))
    assert rows[0] == ["'=head", "n", "w", "kind", "mixed", "s", "f"]
    assert rows[1] == ["'-1.png", "-1", "-1", "'@x", "'=x", "'+1", "-0.25"]
    pd.testing.assert_frame_equal(frame, kept)
    named = frame_csv(pd.DataFrame([[1.0]], index=["=r"], columns=["@c"]), index_label="a")
    assert named.splitlines() == ["a,'@c", "'=r,1.0"]


def test_every_export_neutralizes_class_and_file_names(tmp_path):
    data = blobs()
    data = type(data)(**{**vars(data), "classes": ("=cmd|'/c calc'!A0", "@SUM(1)", "+1")})
    write_run(tmp_path / "run", data, epochs=2)
    export(RunFolder(tmp_path / "run"), tmp_path / "labels.csv")
    rows = list(csv.reader((tmp_path / "labels.csv").read_text().splitlines()))
    assert {row[1] for row in rows[1:]} == {"'=cmd|'/c calc'!A0", "'@SUM(1)", "'+1"}
    assert not any(cell[:1] in [*STARTS] for row in rows for cell in row if cell)
    save_table(pd.DataFrame({"dataset": ["=1"], "alpha": [-0.5]}), tmp_path / "sweep.csv")
    assert (tmp_path / "sweep.csv").read_text().splitlines() == ["dataset,alpha", "'=1,-0.5"]
    save_table(pd.DataFrame({"dataset": ["=1"]}), tmp_path / "sweep.parquet")
    assert pd.read_parquet(tmp_path / "sweep.parquet")["dataset"].tolist() == ["=1"]


def test_rows_with_commas_and_line_breaks_come_back():
    rows = [("a", "b"), ("x,y", 'say "hi"\n=1')]
    assert list(csv.reader(io.StringIO(rows_text(rows)))) == [list(row) for row in rows]


def test_nobody_else_writes_csv():
    wild = re.compile(r"csv\.(writer|DictWriter)|\.to_csv\(|\.to_excel\(")
    for room in ("engine", "app"):
        for path in (ROOT / room).rglob("*.py"):
            found = [line for line in path.read_text().splitlines() if wild.search(line)]
            # data/tables.py gives an owner's own table back, its other cells as they came
            own = path in (ROOT / "engine" / "files.py", ROOT / "engine" / "data" / "tables.py")
            assert own or all("tables.to_csv(" in line for line in found), (path, found)
