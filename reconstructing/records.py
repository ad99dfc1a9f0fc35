"""One face as a row of a table."""

from prnet.reconstructing.face import Face


def face_record(face: Face) -> dict:
    """x, y, width and height of the mesh in pixels, pitch, yaw and roll in degrees, scale, and landmarks (68, 3)."""
    place = dict(zip(("x", "y", "width", "height"), face.bounding_box, strict=True))
    angles = {name: getattr(face.pose, name) for name in ("pitch", "yaw", "roll", "scale")}
    return {**place, **angles, "landmarks": face.landmarks}
