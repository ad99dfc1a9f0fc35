"""From a photo to faces, and from faces to files and pictures."""
