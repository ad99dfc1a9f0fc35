"""Photos with landmarks -> fits of the face model."""
