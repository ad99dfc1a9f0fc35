"""Which parts of an HDF5 file are stored in it: links and external storage may refer to any other file, or a pipe."""

from collections.abc import Iterable

import h5py

from prnet.common.errors import UserError


def own_item(group: h5py.Group, key: str, name: str) -> h5py.Group | h5py.Dataset | None:
    """A group or set, or None where there is none of this name.

    Raises UserError, which calls the file `name`, for links to elsewhere, external and virtual sets. Nothing of a set
    but this may be asked before: to tell its shape, HDF5 opens what a virtual one points to.
    """
    link = group.get(key, getclass=True, getlink=True)
    if link is None:
        return None
    found = group[key] if link is h5py.HardLink else None
    if found is None or (isinstance(found, h5py.Dataset) and (found.external or found.is_virtual)):
        raise UserError(f"{name}: {key} lies outside of the file; only what a file holds itself is read")
    return found


def own_arrays(file: h5py.File, names: Iterable[str], path: str) -> dict[str, h5py.Dataset]:
    """Those of the named sets that a file has, arrays that lie in the file itself."""
    found = {name: own_item(file, name, path) for name in names}
    return {name: data for name, data in found.items() if isinstance(data, h5py.Dataset) and data.shape is not None}


def require_own_items(file: h5py.File, name: str) -> None:
    """Raise UserError, which calls the file `name`, unless all that lies at its top lies in the file itself."""
    for key in file:
        own_item(file, key, name)
