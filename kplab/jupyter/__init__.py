"""The lab as a notebook's objects: each shows itself. `kplab.Lab` is where a user begins."""
