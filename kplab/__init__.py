"""kplab: what kube-proxy writes, and what the kernel does with it."""

__version__ = "0.1.0"
