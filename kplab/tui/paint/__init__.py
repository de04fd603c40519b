"""Pure drawing: a part of a `Frame` and a width -> lines of named styles. No widget, no state."""
