"""Training recipes: each a set of `Training` values that `prnet train --recipe NAME` starts from.

A flag on the command line overrides the recipe.
"""

from dataclasses import replace

from prnet.configure.config import CROP_MARGIN, NO_AUGMENTATION, Augmentation, LossTerms, Training

TAME = Augmentation(crop_margin=1.6, rotation=30.0, translation=0.05, scale=(0.9, 1.1), colour=(0.75, 1.25), mirror=0.5)
"""Ours, where BinaryVR says "tamer augmentation" and "a slightly larger crop" and gives no figures."""

HARD_LOOKS = replace(
    TAME,
    crop_margin=CROP_MARGIN,
    rotation=45.0,
    gamma=(0.6, 1.6),
    occlusion=0.2,
    occluder=0.25,
    shadow=0.2,
    blur=0.15,
    low_resolution=0.15,
    noise=0.15,
    jpeg=0.15,
)
"""The variety that a small set of good photos lacks."""

MILD_LOOKS = replace(
    HARD_LOOKS,
    rotation=35.0,
    gamma=(0.7, 1.4),
    occlusion=0.08,
    occluder=0.12,
    shadow=0.12,
    blur=0.08,
    low_resolution=0.08,
    noise=0.06,
    jpeg=0.1,
    reflection=0.6,
)
"""The same, about half as often: nearer to the photos that a network meets."""


def default() -> Training:
    """The published schedule with a linear head, plain mean squared error and mirrored samples.

    Command: python train_model.py --hdf5-dir DIR
    Source: PRNet (Feng et al. 2018), section 3.3; the linear head and mirroring are ours.
    Hardware, time: one GPU; not run to its end here (two processor cores: 5 images a second, docs/training.md).
    Expect: as `paper`.
    """
    return Training(augmentation=Augmentation(mirror=0.5))


def paper() -> Training:
    """As published: batch 16, Adam 1e-4 halved every 5 epochs, weighted loss, sigmoid, published augmentation.

    Command: python train_model.py --recipe paper --hdf5-dir DIR
    Source: PRNet (Feng et al. 2018), sections 3.2 and 3.3.
    Hardware, time: one GPU; 50 epochs of 122,450 samples are 383,000 steps; not run to its end here.
    Expect: the paper's NME on AFLW2000-3D, 3.62 % (mean of the yaw bins, 68 points, 2D).
    """
    return Training(loss="wtmse", head="sigmoid")


def binaryvr() -> Training:
    """BinaryVR's schedule: batch 20, 1e-3 halved every 75,000 steps, 300,000 steps, tamer augmentation, larger crop.

    Command: python train_model.py --recipe binaryvr --hdf5-dir DIR
    Source: BinaryVR's re-implementation of PRNet; the figures of its augmentation are ours (`TAME`).
    Hardware, time: one GPU; under an hour at 1,700 images a second; not run to its end here.
    Expect: as `paper`.
    """
    return Training(
        loss="wtmse",
        batch_size=20,
        learning_rate=1e-3,
        steps=300_000,
        drop_every=75_000,
        drop_unit="steps",
        augmentation=TAME,
    )


def lprnet() -> Training:
    """The light network for CPUs at 128 x 128, batch 16.

    Command: python train_model.py --recipe lprnet --hdf5-dir DIR
    Source: this project; L-PRNet's own schedule is `lprnet_published`. In so few steps the square root in the loss
    matters: docs/training.md.
    Hardware, time: two processor cores, 19 minutes for ten epochs of 2,941 photos.
    Expect: 4.1 % validation NME on the YouTube Faces frames of docs/training.md.
    """
    return Training(
        network="lprnet",
        image_size=128,
        loss="wtrmse",
        epochs=10,
        learning_rate=1e-3,
        drop_every=3,
        augmentation=replace(TAME, crop_margin=CROP_MARGIN),
    )


def lprnet_published() -> Training:
    """L-PRNet as its author trained it: batch 16, Adam 1e-4 halved every 5 epochs, 15 epochs, no augmentation.

    Command: python train_model.py --recipe lprnet_published --hdf5-dir DIR
    Source: the README of rendchevi/L-PRNet on GitHub (weighted mean squared error, 128 x 128, 300W-LP); it does not
    say how the output is bounded, the linear head is ours, and so is the network's exact shape (model/lprnet.py).
    Hardware, time: one GPU; 15 epochs of 122,450 samples are 115,000 steps; not run to its end here.
    Expect: its author gives no NME. On small data sets `lprnet` learns in far fewer steps.
    """
    return Training(network="lprnet", image_size=128, loss="wtmse", epochs=15, augmentation=NO_AUGMENTATION)


def photos() -> Training:
    """The light network for everyday photos: `lprnet` with worse light, focus and compression, and occlusion.

    Command: python train_model.py --recipe photos --hdf5-dir DIR
    Source: this project; the third of the shipped weights' four runs (docs/model_card_lprnet.md).
    Hardware, time: two processor cores, 106 minutes for 16 epochs of 14,608 rotated views (38 images a second).
    Expect: 3.1 % validation NME on the views if it starts from weights of 3.6 % (`--model`), 2.9 % after 17 more
    epochs from 7e-4; from fresh ones, with another loss and less rotation, 15 epochs reached 4.0 %.
    """
    return replace(lprnet(), loss="wtmae", epochs=16, drop_every=1, drop_factor=0.78, augmentation=HARD_LOOKS)


def morphnet() -> Training:
    """The network whose surface is a face: the augmentation of `photos`, with losses that ask for open mouths and eyes.

    Command: python train_model.py --recipe morphnet --hdf5-dir DIR --model lprnet
    Source: this project; of the shipped weights' 40 identity components 28 were kept afterwards (docs/model_card.md).
    Hardware, time: two processor cores, 64 images a second while little else ran: 3.5 minutes for 13,297 photos.
    Expect: 2.4 % validation NME after 16 epochs of the photos, 2.2 % after 10 more with their rotated views.
    """
    return replace(
        photos(),
        network="morphnet",
        batch_size=32,
        learning_rate=1.5e-3,
        schedule="cosine",
        warmup=0.3,
        clip_norm=1.0,
        epochs=20,
        balance=0.7,
        identities=28,
        augmentation=replace(HARD_LOOKS, reflection=0.6),
        terms=LossTerms(landmarks=1.5, apertures=1.0, scores=0.5),
    )


def morphnet_tuned() -> Training:
    """Trains a `morphnet` on with milder augmentation, as the shipped weights at last; for photos of your own too.

    Command: python train_model.py --recipe morphnet_tuned --hdf5-dir DIR --model morphnet
    Source: this project; docs/model_card.md.
    Hardware, time: two processor cores that many programs shared, 87 minutes for 6 epochs of 23,294 samples.
    Expect: 2.03 % validation NME against the fits, from weights of 2.27 %.
    """
    return replace(morphnet(), epochs=6, learning_rate=6e-4, warmup=0.05, augmentation=MILD_LOOKS)


def weak() -> Training:
    """Photos and their 68 landmarks alone, no fits: the losses and weights of Deep3DFaceReconstruction (`PhotoTerms`).

    Command: python train_model.py --recipe weak --hdf5-dir DIR --model morphnet
    Source: Deng et al., CVPRW 2019, and its public implementations: augmentation (shift 10 pixels of 224, scale 0.9 to
    1.1, rotation 10 degrees, mirrored), batch 32. The light encoder, its rate and its schedule are ours; as published
    it is `--network photonet50 --learning-rate 1e-4 --schedule steps`.
    Hardware, time: docs/weak.md.
    Expect: docs/weak.md.
    """
    return Training(
        network="photonet",
        image_size=128,
        loss="wtmae",
        epochs=20,
        batch_size=32,
        learning_rate=1e-3,
        schedule="cosine",
        warmup=0.3,
        clip_norm=1.0,
        augmentation=replace(
            NO_AUGMENTATION, rotation=10.0, translation=10 / 224, scale=(0.9, 1.1), mirror=0.5, reflection=0.6
        ),
    )


RECIPES = {
    recipe.__name__: recipe
    for recipe in (default, paper, binaryvr, lprnet, lprnet_published, photos, morphnet, morphnet_tuned, weak)
}
