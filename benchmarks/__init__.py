"""Measurements: `python -m benchmarks [NAME…]`. Ratios compare two things measured in one run."""
