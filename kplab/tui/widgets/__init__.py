"""Panels of the screen. Each shows a value that it is given and owns none."""
