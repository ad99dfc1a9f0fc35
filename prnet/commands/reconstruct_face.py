"""Photos, folders of photos and videos to faces: landmarks, pose, mesh, maps and pictures."""

import argparse
import sys

from prnet.configure.config import FACE_MODEL_PATH
from prnet.reconstructing.settings import DETECTORS, MODEL_PATH, OVERLAYS, OutputSettings

EPILOG = """examples:
  python reconstruct_face.py --image photo.jpg --outputdir output/faces
  python reconstruct_face.py --model output/best.keras --image photos --mat --frontal --outputdir output/faces
  python reconstruct_face.py --image clip.mp4 --overlay mesh --smooth --outputdir output/faces

The exit status is 1 where an input failed; the others are done all the same.
docs/reconstruction.md says what is in each file and which way the axes point."""


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=MODEL_PATH, help="network, a .keras file; default %(default)s")
    parser.add_argument("--image", required=True, help="photo, video, or folder of them")
    parser.add_argument("--outputdir", default="output/faces", help="folder for the results; default %(default)s")
    parser.add_argument("--detector", choices=DETECTORS, default="mtcnn", help="none: the whole photo is the face")
    parser.add_argument(
        "--mirrored", action="store_true", help="the mean with the mirrored photo's faces: less error, twice the time"
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--bbox", nargs=4, type=float, metavar=("X", "Y", "W", "H"), help="the face's box, as detectors give it"
    )
    place.add_argument("--landmarks", metavar="FILE", help="68 landmarks, .txt or .npy: rows of x y in pixels from 0")
    place.add_argument("--fit", metavar="FILE", help="a fit in 300W-LP's format, .mat")
    parser.add_argument("--facemodel", default=FACE_MODEL_PATH, help="for a --fit without pt3d_68; default %(default)s")
    parser.add_argument("--mat", action="store_true", help="also a MATLAB file with the mesh")
    parser.add_argument("--frontal", action="store_true", help="also the meshes turned to the front")
    parser.add_argument("--texture", type=int, choices=(256, 512, 1024), default=256, help="side of the UV texture")
    parser.add_argument("--overlay", choices=OVERLAYS, default="landmarks", help="what is drawn over a video")
    parser.add_argument("--smooth", action="store_true", help="filter a video's faces against jitter (one-euro)")
    options = parser.parse_args(argv)

    from prnet.reconstructing.outputs import find_inputs, reconstruct_inputs
    from prnet.reconstructing.places import known_boxes
    from prnet.reconstructing.reconstructor import FaceReconstructor

    inputs = find_inputs(options.image)
    boxes = known_boxes(options.bbox, options.landmarks, options.fit, options.facemodel, inputs)
    settings = OutputSettings(
        mat=options.mat,
        frontal=options.frontal,
        texture_size=options.texture,
        overlay=options.overlay,
        smooth=options.smooth,
    )
    failures = reconstruct_inputs(
        FaceReconstructor(options.model, options.detector, mirrored=options.mirrored),
        inputs,
        options.outputdir,
        settings,
        boxes=boxes,
        complain=lambda line: print(line, file=sys.stderr),
    )
    return int(failures > 0)
