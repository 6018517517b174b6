"""Execute the notebooks in place, and keep what a code host can show and nothing else.

python -m tests.execute_notebooks [NAME ...]       # 01_noise ...; all of them by default
python -m tests.execute_notebooks --solved FOLDER  # copies with the hidden solutions as cells
"""

import argparse
import os
import re
import tempfile
import time
from pathlib import Path

import nbformat

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
WIDGET, PNG = "application/vnd.jupyter.widget-view+json", "image/png"
HIDDEN = re.compile(r"<details>.*?</details>", re.DOTALL)
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def solutions(notebook) -> list[str]:
    """The code in the hidden solutions, in order."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    return [
        code for text in texts for hidden in HIDDEN.findall(text) for code in CODE.findall(hidden)
    ]


def solved(notebook):
    """A copy with the code of its solutions as cells at the end."""
    copy = nbformat.from_dict(notebook)
    copy.cells += [nbformat.v4.new_code_cell(code) for code in solutions(notebook)]
    return copy


def execute(path: Path) -> None:
    """Run a notebook from its folder and write it with its outputs."""
    from nbclient import NotebookClient

    notebook = nbformat.read(path, 4)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    nbformat.write(cleaned(notebook), path)


def cleaned(notebook):
    """Without what changes from machine to machine, and without sliders that no kernel moves."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if PNG in output.get("data", {}):
                output.data.pop(WIDGET, None)
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
    parser.add_argument("--solved", type=Path, metavar="FOLDER", help="write copies there instead")
    options = parser.parse_args()
    paths = [
        p for p in sorted(FOLDER.glob("*.ipynb")) if p.stem in options.names or not options.names
    ]
    if options.solved:
        options.solved.mkdir(parents=True, exist_ok=True)
        for path in paths:
            nbformat.write(solved(nbformat.read(path, 4)), options.solved / path.name)
        return
    with tempfile.TemporaryDirectory() as root:
        os.environ["MIXNN_RUNS"] = root
        if any(path.stem.startswith("06") for path in paths):
            run_of_the_app(Path(root))
        for path in paths:
            start = time.perf_counter()
            execute(path)
            size = path.stat().st_size / 1e6
            print(f"{path.stem}: {time.perf_counter() - start:.1f} s, {size:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
