"""kplab: what kube-proxy writes, and what the kernel does with it.

`kplab.Lab` is the lab for notebooks and scripts. It is loaded when it is first asked for, so that `import kplab` stays
quick, and works without what a notebook needs.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name != "Lab":
        raise AttributeError(f"module 'kplab' has no attribute {name!r}")
    # By its name: the agent imports this package too, and must not come by a face.
    from importlib import import_module

    return import_module("kplab.jupyter.lab").Lab


def __dir__() -> list[str]:
    return ["Lab", "__version__"]
