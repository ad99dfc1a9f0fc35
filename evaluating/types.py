"""The six types of evaluation: what is compared, and in how many dimensions."""

from enum import Enum, IntEnum


class Kind(Enum):
    """What is compared."""

    SPARSE = "sparse"  # the 68 landmarks
    DENSE = "dense"  # the texels of the face mask
    RECONSTRUCTION = "reconstruction"  # the same after the predicted face is laid over the true one


class EvaluationType(IntEnum):
    """One of the six types; the number is its place in result files, on the command line and in PRNet-keras' API."""

    SPARSE_2D = 0
    SPARSE_3D = 1
    DENSE_2D = 2
    DENSE_3D = 3
    RECONSTRUCTION_2D = 4
    RECONSTRUCTION_3D = 5

    @property
    def kind(self) -> Kind:
        return Kind(self.name.partition("_")[0].lower())

    @property
    def dimensions(self) -> int:
        return 2 if self.name.endswith("2D") else 3

    @property
    def needs_mesh(self) -> bool:
        """Whether landmarks are not enough, of the ground truth and of the prediction."""
        return self.kind is not Kind.SPARSE

    @property
    def title(self) -> str:
        return f"{self.kind.value} {self.dimensions}D"
