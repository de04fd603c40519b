"""Screens: the lab being built, the lesson with its picture, and what lies over them."""
