"""Execute the notebooks in place, and keep what a code host can show and nothing else.

python -m tests.execute_notebooks [NAME ...]       # 01_noise ...; all of them by default
python -m tests.execute_notebooks --graded FOLDER  # copies that grade empty answers and solutions
"""

import argparse
import asyncio
import base64
import io
import json
import os
import re
import shutil
import tempfile
import threading
import time
from pathlib import Path

import nbformat

from engine.charts.notebook import WIDTH
from engine.data.images import open_image
from engine.reports.classkit import INSTRUCTOR, STUDENT, build

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
ANSWER, SOLUTION = "otter_answer_cell", "otter_assign_solution_cell"
PLOTLY, PNG = "application/vnd.plotly.v1+json", "image/png"
N_COLORS = 128  # of a PNG: a third of the bytes, with no visible difference
MOST_JSON = 500_000  # characters of a figure in Plotly's format; a larger one is its PNG alone
PATIENCE = 90.0  # seconds that a browser may take for one picture
HIDDEN = re.compile(r"<details>.*?</details>", re.DOTALL)
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def solutions(notebook) -> list[str]:
    """The code in the hidden solutions, in order."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    return [
        code for text in texts for hidden in HIDDEN.findall(text) for code in CODE.findall(hidden)
    ]


def graded(student, instructor):
    """A copy of a class kit's notebook that asserts its grades.

    Empty answers get no point of any question, and the solutions all of them, hidden ones included.
    """
    answers = iter(cell.source for cell in student.cells if ANSWER in tags(cell))
    copy = nbformat.from_dict(instructor)
    copy.cells, number = [], 0
    for cell in instructor.cells:
        if cell.cell_type != "code" or SOLUTION not in tags(cell):
            copy.cells.append(cell)
            continue
        number += 1
        check = f'grader.check("exercise{number}")'
        for source in (
            next(answers),
            f"assert {check}.score == 0",
            cell.source,
            f"assert {check}.passed_all, {check}.summary()",
        ):
            copy.cells.append(nbformat.v4.new_code_cell(source))
    assert number
    assert not list(answers)
    return copy


def tags(cell) -> list[str]:
    """The tags of a cell, those by otter-grader among them."""
    return cell.metadata.get("tags", [])


class Painter:
    """One browser that stays open for all pictures; starting it takes seconds."""

    def __init__(self):
        from kaleido import Kaleido

        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="painter", daemon=True).start()
        # mathjax=False: it would come from the network
        self._kaleido = Kaleido(n=1, mathjax=False, timeout=PATIENCE)
        self._wait(self._kaleido.open())

    def png(self, figure: dict) -> bytes:
        """The picture of a figure in Plotly's format, on no background."""
        layout = figure["layout"]
        size = dict(width=layout.get("width", WIDTH), height=layout.get("height", 450))
        return smaller(self._wait(self._kaleido.calc_fig(figure, opts=dict(format="png", **size))))

    def close(self) -> None:
        self._wait(self._kaleido.close())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _wait(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)


def smaller(png: bytes) -> bytes:
    """The same picture in at most N_COLORS colors, transparency included."""
    from PIL import Image

    buffer = io.BytesIO()
    with open_image(io.BytesIO(png)) as image:
        picture = image.convert("RGBA").quantize(N_COLORS, method=Image.Quantize.FASTOCTREE)
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def bake(notebook, painter) -> None:
    """Add a PNG to every figure: a code host shows no other form."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if PLOTLY in data:
                data[PNG] = base64.b64encode(painter.png(data[PLOTLY])).decode()
                if len(json.dumps(data[PLOTLY])) > MOST_JSON:
                    del data[PLOTLY]


def execute(path: Path, painter: Painter) -> None:
    """Run a notebook from its folder and write it with its outputs."""
    from nbclient import NotebookClient

    notebook = nbformat.read(path, 4)
    client = NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    bake(notebook, painter)
    nbformat.write(cleaned(notebook), path)


def cleaned(notebook):
    """Without what changes from machine to machine."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def run_of_the_app(root: Path) -> None:
    """A run that the app makes and 06 finds."""
    from app.server.run_manager import EVERYONE, RunManager
    from engine.config import configure

    runs = RunManager(root)
    name = runs.submit(configure(rate=0.2, seed=1, epochs=15), visitor=EVERYONE)
    while runs.info(name).active:
        time.sleep(0.2)
    runs.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="stems of the files in notebooks/")
    parser.add_argument("--graded", type=Path, metavar="FOLDER", help="write copies there instead")
    options = parser.parse_args()
    paths = [
        p for p in sorted(FOLDER.glob("*.ipynb")) if p.stem in options.names or not options.names
    ]
    if options.graded:
        kit = options.graded / "kit"
        build(kit, options.names)
        for path in sorted((kit / STUDENT).glob("*.ipynb")):
            versions = (nbformat.read(kit / each / path.name, 4) for each in (STUDENT, INSTRUCTOR))
            nbformat.write(graded(*versions), options.graded / path.name)
        shutil.rmtree(kit)
        return
    with tempfile.TemporaryDirectory() as root:
        os.environ["MIXNN_RUNS"] = root
        if any(path.stem.startswith("06") for path in paths):
            run_of_the_app(Path(root))
        painter = Painter()
        for path in paths:
            start = time.perf_counter()
            execute(path, painter)
            size = path.stat().st_size / 1e6
            print(f"{path.stem}: {time.perf_counter() - start:.1f} s, {size:.2f} MB", flush=True)
        painter.close()


if __name__ == "__main__":
    main()
