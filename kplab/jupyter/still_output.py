"""The still picture as a notebook's output of its own, which makes room for the widget wherever that lives.

A front-end shows one form of an output, and JupyterLab always takes the widget's, even in a notebook that was saved and
opened without the kernel that held it: there it says "model not found", and a picture in the same output is never seen.
So the picture is one output and the widget the next. Looks that come with the picture take it away where the widget
stands beneath it, and take the widget's place away where it does not. They are rules of a style sheet, not a script: a
page without scripts shows the picture.
"""

from __future__ import annotations

import base64
from html import escape
from typing import Any

_OUTPUTS = (".jp-OutputArea-child", ".output_area", ".cell-output")
"""An output's element: in JupyterLab and nbconvert, in the classic notebook, in Jupyter Book."""

_VSCODE = ".output_container"


def still_output(still: str, told: str, text: str) -> dict[str, Any]:
    """Return the picture's MIME bundle; `told` is read out in its place, `text` is the story as lines.

    HTML is there for JupyterLab, which trusts no SVG in a notebook that somebody else ran, but does trust an image.
    """
    data = base64.b64encode(still.encode()).decode()
    image = f'<img class="kplab-still" alt="{escape(told)}" src="data:image/svg+xml;base64,{data}">'
    return {"text/html": f"<style>{_rules()}</style>{image}", "image/svg+xml": still, "text/plain": text}


def _rules() -> str:
    rules = []
    for output in _OUTPUTS:
        picture = f"{output}:has(.kplab-still)"
        rules.append(f"{picture}:has(+ {output} .kplab-journey){{display:none}}")
        rules.append(f"{picture} + {output}:has(.jupyter-widgets):not(:has(.kplab-journey)){{display:none}}")
    # VS Code gives an output the height of what is in it, so there the picture alone goes.
    rules.append(f"{_VSCODE}:has(+ {_VSCODE} .kplab-journey) .kplab-still{{display:none}}")
    return "".join(rules)
