"""Runs a notebook's cells as Jupyter does, in one process of its own: `python -m tests.helpers.notebooks FILE`."""

import ast
import json
import sys
from pathlib import Path


def code_cells(path) -> list[str]:
    """The sources of a notebook's code cells."""
    notebook = json.loads(Path(path).read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run_notebook(path) -> None:
    """Run every cell in one namespace and show the value of its last line, as a picture if it is one."""
    names = {"__name__": "__main__"}
    for number, source in enumerate(code_cells(path), start=1):
        print(f"[{number}]", flush=True)
        tree = ast.parse(source)
        shown = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"cell {number}", "exec"), names)
        if shown is not None:
            show(eval(compile(ast.Expression(shown.value), f"cell {number}", "eval"), names))


def show(value) -> None:
    picture = value._repr_png_() if hasattr(value, "_repr_png_") else None
    if value is not None:
        print(repr(value) if picture is None else f"a picture of {len(picture):,} bytes", flush=True)


if __name__ == "__main__":
    run_notebook(sys.argv[1])
