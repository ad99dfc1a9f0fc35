"""Procedural people: a face model, their photos, and archives in the layout of 300W-LP."""
