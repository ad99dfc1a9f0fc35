"""Turn ICT-FaceKit, Basel Face Model files, plain arrays or the sample model into a face_model.hdf5."""

from pathlib import Path

from prnet.commands.flags import Parser, say_what_to_open
from prnet.common.errors import UserError
from prnet.configure.config import FACE_MODEL_PATH

EXAMPLE = """examples:
  {build-face-model} --ict ICT-FaceKit
  {build-face-model} --bfm BFM.mat --uv BFM_UV.mat
  {build-face-model} --bfm 01_MorphableModel.mat --expression Model_Exp.mat --info model_info.mat
  {build-face-model} --sample --output sample/face_model.hdf5
  {build-face-model} --model resource/face_model.hdf5 --learn-texture data/train.hdf5"""


def make_parser() -> Parser:
    parser = Parser(__doc__, EXAMPLE)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--bfm", type=Path, metavar="FILE", help="face3d's BFM.mat, or the raw 01_MorphableModel.mat")
    source.add_argument(
        "--ict", type=Path, metavar="DIR|ZIP", help="folder or zip of ICT-FaceKit's repository (MIT licence)"
    )
    source.add_argument("--arrays", type=Path, metavar="NPZ", help="any other model, as plain arrays (docs/fitting.md)")
    source.add_argument("--sample", action="store_true", help="the procedural face model of the sample data")
    source.add_argument("--model", type=Path, metavar="HDF5", help="a face model that was built before")
    parser.add_argument(
        "--learn-texture",
        type=Path,
        metavar="HDF5",
        help="data set with fits of this face model, from whose frontal photos the albedo's mean and components come",
    )
    parser.add_argument(
        "--components", type=int, metavar="N", help="of the texture that --learn-texture makes (default: 40)"
    )
    parser.add_argument("--identity", type=int, metavar="N", help="with --ict: identity components, 1 to 100 (100)")
    parser.add_argument("--parts", choices=("face", "head"), help="with --ict: face with ears and neck, or head (face)")
    parser.add_argument("--expression", type=Path, metavar="FILE", help="with the raw model: 3DDFA's Model_Exp.mat")
    parser.add_argument("--info", type=Path, metavar="FILE", help="with the raw model: 3DDFA's model_info.mat")
    parser.add_argument("--uv", type=Path, metavar="FILE", help="BFM_UV.mat (a Tutte embedding of the mesh)")
    parser.add_argument("--uv-data", type=Path, metavar="DIR", help="PRNet's own masks (derived from the landmarks)")
    parser.add_argument("--output", type=Path, default=Path(FACE_MODEL_PATH), metavar="FILE", help="file to write")
    return parser


def main(argv=None) -> None:
    flags = make_parser().parse_args(argv)
    from prnet.formats.face_model_file import save_face_model

    model = _read(flags)
    if flags.learn_texture is not None:
        model = _with_texture(model, flags)
    elif flags.components is not None:
        raise UserError("--components: belongs to --learn-texture; give both")
    save_face_model(model, flags.output)
    print(
        f"{model.source}: {len(model.mean):,} vertices, {len(model.triangles):,} triangles, "
        f"{model.shape_basis.shape[2]} identity and {model.expression_basis.shape[2]} expression components, "
        f"{len(model.landmark_vertices)} landmarks"
    )
    if flags.bfm or flags.ict:
        regions = flags.uv_data or ("the model's own parts" if flags.ict else "derived from the landmarks")
        print(f"UV coordinates: {flags.uv or 'a Tutte embedding'}; regions: {regions}")
    if model.texture is not None:
        learned = "" if flags.learn_texture is None else f", learned from {flags.learn_texture}"
        print(f"texture: {len(model.texture.deviation)} components{learned}")
    print(f"licence: {model.licence}")
    print(f"{flags.output}: face model {model.identity}")
    say_what_to_open(flags.output)


def _with_texture(model, flags):
    """The face model with a texture basis learned from photos."""
    from prnet.generating.dataset import open_dataset
    from prnet.generating.texture import learn_texture

    components = 40 if flags.components is None else flags.components
    if components < 1:
        raise UserError(f"--components {components}: must be at least 1")
    with open_dataset(flags.learn_texture) as dataset:
        if dataset.model_identity != model.identity:
            raise UserError(
                f"{flags.learn_texture}: built with the face model {dataset.model_identity}, not with this one "
                f"({model.identity}); give the one it was built with"
            )
        return learn_texture(model, dataset, components)


def _read(flags):
    """The `FaceModel` that the flags ask for."""
    if (flags.expression is None) != (flags.info is None):
        raise UserError("--expression and --info belong together: the raw model needs both, BFM.mat neither")
    if flags.model:
        _refuse(flags, "--model", "expression", "uv", "uv_data", "identity", "parts")
        from prnet.formats.face_model_file import load_face_model

        return load_face_model(flags.model)
    if flags.sample:
        _refuse(flags, "--sample", "expression", "uv", "uv_data", "identity", "parts")
        from prnet.generating.samples.model import make_sample_model

        return make_sample_model()
    if flags.ict:
        _refuse(flags, "--ict", "expression", "uv", "uv_data")
        from prnet.formats.ict import IDENTITIES, read_ict_model

        count = IDENTITIES if flags.identity is None else flags.identity
        if not 1 <= count <= IDENTITIES:
            raise UserError(f"--identity {count}: ICT-FaceKit has 1 to {IDENTITIES} identity components")
        return read_ict_model(flags.ict, count, flags.parts or "face")
    if flags.arrays:
        _refuse(flags, "--arrays", "expression", "uv", "uv_data", "identity", "parts")
        from prnet.formats.array_model import read_array_model

        return read_array_model(flags.arrays)
    _refuse(flags, "--bfm", "identity", "parts")
    from prnet.formats.bfm import read_face3d_model, read_raw_model

    if flags.info is None:
        return read_face3d_model(flags.bfm, flags.uv, flags.uv_data)
    return read_raw_model(flags.bfm, flags.expression, flags.info, flags.uv, flags.uv_data)


def _refuse(flags, source: str, *names: str) -> None:
    for name in names:
        if getattr(flags, name) is not None:
            raise UserError(f"--{name.replace('_', '-')}: has no meaning with {source}; leave it out")
