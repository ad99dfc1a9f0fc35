"""Which parts of an HDF5 file are stored in it: links and external storage may refer to any other file, or a pipe."""

from collections.abc import Iterable, Iterator

import h5py

from prnet.common.errors import UserError


def own_item(group: h5py.Group, path: str, name: str) -> h5py.Group | h5py.Dataset | None:
    """The group or set at a path such as `texture/mean`, or None where there is none.

    Raises UserError, which calls the file `name`, for links to elsewhere, external and virtual sets. Nothing of a set
    but this may be asked before: to tell its shape, HDF5 opens what a virtual one points to.
    """
    found = group
    for key in path.split("/"):
        link = found.get(key, getclass=True, getlink=True) if isinstance(found, h5py.Group) else None
        if link is None:
            return None
        found = found[key] if link is h5py.HardLink else None
        if found is None or (isinstance(found, h5py.Dataset) and (found.external or found.is_virtual)):
            raise UserError(f"{name}: {path} lies outside of the file; only what a file holds itself is read")
    return found


def own_items(group: h5py.Group, name: str) -> Iterator[h5py.Group | h5py.Dataset]:
    """All that lies in a group, as `own_item` finds it.

    In the order in which the file has it: to sort the names of a damaged group, HDF5 1.14 frees memory that it never
    claimed, which ends the process.
    """
    keys: list[bytes] = []
    group.id.links.iterate(keys.append, order=h5py.h5.ITER_NATIVE)
    for key in keys:
        found = own_item(group, key.decode(), name)
        if found is not None:
            yield found


def own_arrays(file: h5py.File, names: Iterable[str], path: str) -> dict[str, h5py.Dataset]:
    """Those of the named sets that a file has, arrays that lie in the file itself."""
    found = {name: own_item(file, name, path) for name in names}
    return {name: data for name, data in found.items() if isinstance(data, h5py.Dataset) and data.shape is not None}
