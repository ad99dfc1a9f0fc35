"""Pairs of photos and fits: folders and archives alike, what is passed over, and what is said of the rest."""

import os
import stat
import struct
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from prnet.common.errors import UserError
from prnet.formats import pairs as pairs_module
from prnet.formats.fit_files import MAX_FIT_BYTES
from prnet.formats.pairs import find_pairs
from tests.helpers.small_faces import small_files, write_folder, write_zip

STEMS = ["300W_LP/AFW/AFW_1_0", "300W_LP/AFW_Flip/AFW_1_0", "300W_LP/HELEN/HELEN_2_0"]
SKIPPED = [
    "300W_LP/Code/ModelGeneration/model_info.mat",
    "300W_LP/Code/demo.m",
    "300W_LP/landmarks/AFW/AFW_1_0_pts.mat",
    "__MACOSX/300W_LP/AFW/._AFW_1_0.jpg",
    "300W_LP/AFW/.DS_Store",
]


def stems(source) -> list[str]:
    return [pair.stem for pair in source]


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_folders_and_archives_give_the_same_pairs(tmp_path, write):
    files = small_files(STEMS)
    with find_pairs(write(tmp_path / "data", files | dict.fromkeys(SKIPPED, b"skipped"))) as source:
        assert stems(source) == sorted(STEMS)
        assert source.left_out == []
        assert [(pair.name, pair.folder) for pair in source][:2] == [("AFW_1_0", "AFW"), ("AFW_1_0", "AFW_Flip")]
        for pair in source:
            assert pair.image_bytes() == files[f"{pair.stem}.jpg"]
            assert pair.fit_bytes() == files[f"{pair.stem}.mat"]
        assert source.pairs[0].image_file == f"{tmp_path}/data/300W_LP/AFW/AFW_1_0.jpg"
        assert source.pairs[0].fit_file == f"{tmp_path}/data/300W_LP/AFW/AFW_1_0.mat"


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_what_belongs_to_no_pair_is_listed_by_file(tmp_path, write):
    files = small_files(["AFW/a_0"]) | {
        "AFW/b_0.jpg": b"",
        "AFW/c_0.mat": b"",
        "AFW/notes.txt": b"",
        "AFW/a_0.png": b"",
    }
    with find_pairs(write(tmp_path / "data", files)) as source:
        assert stems(source) == ["AFW/a_0"]
        assert sorted(source.left_out) == [
            f"{tmp_path}/data/AFW/a_0.png: AFW/a_0.jpg is used in its place",
            f"{tmp_path}/data/AFW/b_0.jpg: has no .mat",
            f"{tmp_path}/data/AFW/c_0.mat: has no photo",
            f"{tmp_path}/data/AFW/notes.txt: neither a photo (.jpg, .jpeg, .png) nor a .mat",
        ]


def test_suffixes_may_be_in_capitals_and_files_may_lie_at_the_top(tmp_path):
    with find_pairs(write_folder(tmp_path / "AFLW2000", {"image1.JPG": b"j", "image1.Mat": b"m"})) as source:
        (pair,) = source
        assert (pair.name, pair.folder, pair.image_bytes(), pair.fit_bytes()) == ("image1", "AFLW2000", b"j", b"m")


def test_many_threads_may_read_one_archive(tmp_path):
    files = small_files([f"AFW/a_{number}" for number in range(40)])
    with find_pairs(write_zip(tmp_path / "data.zip", files)) as source, ThreadPoolExecutor(8) as pool:
        for pair, content in zip(source, pool.map(lambda pair: pair.image_bytes(), source), strict=True):
            assert content == files[f"{pair.stem}.jpg"]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"absent: no such folder or zip archive"):
        find_pairs(tmp_path / "absent")


@pytest.mark.parametrize("length", [0, 1, 100, -1, -30])
def test_an_archive_cut_short_is_an_error(tmp_path, length):
    path = write_zip(tmp_path / "300W-LP.zip", small_files(STEMS))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UserError, match=r"300W-LP\.zip: is not a zip archive, or is cut short"):
        find_pairs(path)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
def test_a_pipe_is_no_photo(tmp_path):
    write_folder(tmp_path, small_files(["a", "b"]))
    (tmp_path / "b.jpg").unlink()
    os.mkfifo(tmp_path / "b.jpg")
    with find_pairs(tmp_path) as source:
        pair = source.pairs[1]
        assert pair.image_size() == 0
        with pytest.raises(UserError, match=r"b\.jpg: is not a plain file"):
            pair.image_bytes()


def test_links_to_folders_are_followed_once(tmp_path):
    write_folder(tmp_path / "elsewhere", small_files(["a_0"]))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "AFW").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(tmp_path / "data")
    with find_pairs(tmp_path / "data") as source:
        assert stems(source) == ["AFW/a_0"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such a name")
@pytest.mark.parametrize("name", [b"bad\xff.jpg", b"line\nbreak.jpg"])
def test_a_name_that_is_no_text_is_left_out_in_one_line(tmp_path, name):
    write_folder(tmp_path / "data", small_files(["a_0"]))
    (tmp_path / "data" / os.fsdecode(name)).write_bytes(b"")
    with find_pairs(tmp_path / "data") as source:
        assert stems(source) == ["a_0"]
        (line,) = source.left_out
        assert "is not plain text" in line
        assert line.isprintable()


def test_a_file_that_cannot_be_read_is_an_error_with_its_name(tmp_path):
    write_folder(tmp_path / "data", small_files(["a_0"]))
    with find_pairs(tmp_path / "data") as source:
        (tmp_path / "data" / "a_0.jpg").unlink()
        with pytest.raises(UserError, match=r"data/a_0\.jpg: cannot be read"):
            source.pairs[0].image_bytes()


def entry(name: str, **attributes) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (entry("/etc/face.jpg"), "points out of the archive"),
        (entry("C:/face.jpg"), "points out of the archive"),
        (entry("AFW/../../face.jpg"), "points out of the archive"),
        (entry("AFW\\..\\face.jpg"), "points out of the archive"),
        (entry("AFW/face.jpg", external_attr=(stat.S_IFLNK | 0o777) << 16), "is a link"),
        (entry("AFW/face.jpg", compress_type=zipfile.ZIP_LZMA), "another method"),
        (entry("AFW/fa\u202ece\n.jpg"), "not plain text"),
        (entry("AFW/" + 2000 * "a" + ".jpg"), "not plain text"),
    ],
)
def test_entries_that_no_archive_of_photos_needs_are_left_out(tmp_path, info, reason):
    path = write_zip(tmp_path / "data.zip", small_files(["AFW/a_0"]))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, b"content")
    with find_pairs(path) as source:
        assert stems(source) == ["AFW/a_0"]
        (line,) = source.left_out
        assert reason in line
        assert line.startswith(f"{path}: the entry ")
        assert line.isprintable()


def test_an_encrypted_entry_is_left_out(tmp_path):
    path = write_zip(tmp_path / "data.zip", {"AFW/a_0.jpg": b"content"})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with find_pairs(path) as source:
        assert len(source) == 0
        assert "is encrypted" in source.left_out[0]


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_the_first_of_two_entries_of_one_name_counts(tmp_path):
    path = write_zip(tmp_path / "data.zip", {"a_0.jpg": b"first", "a_0.mat": b"fit"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a_0.jpg", b"second")
    with find_pairs(path) as source:
        assert source.pairs[0].image_bytes() == b"first"
        assert "comes twice" in source.left_out[0]


@pytest.mark.parametrize("name", ["Gesicht_ä_1", "顔_1", "лицо_1"])
@pytest.mark.parametrize("utf8", [True, False])
def test_names_in_other_alphabets_are_read(tmp_path, name, utf8):
    path = write_zip(tmp_path / "data.zip", {f"{name}.jpg": b"photo", f"{name}.mat": b"fit"})
    if not utf8:
        content = path.read_bytes()
        for mark in (b"PK\x03\x04", b"PK\x01\x02"):
            flags = 6 if mark[2] == 3 else 8
            content = b"".join(
                part if number == 0 else mark + part[: flags - 4] + b"\0\0" + part[flags - 2 :]
                for number, part in enumerate(content.split(mark))
            )
        path.write_bytes(content)
    with find_pairs(path) as source:
        if utf8:
            assert stems(source) == [name]
            assert source.pairs[0].image_bytes() == b"photo"
        else:
            assert len(source) + len(source.left_out) > 0


def test_a_wrong_checksum_is_an_error_with_the_name_of_the_file(tmp_path):
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a_0.jpg", b"content of the photo")
        archive.writestr("a_0.mat", b"fit")
    path.write_bytes(path.read_bytes().replace(b"content of", b"CONTENT OF"))
    with find_pairs(path) as source, pytest.raises(UserError, match=r"data\.zip/a_0\.jpg: cannot be read: Bad CRC"):
        source.pairs[0].image_bytes()


def test_files_too_large_for_their_kind_are_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(pairs_module, "MAX_IMAGE_BYTES", 1000)
    files = {"a_0.jpg": bytes(1001), "a_0.mat": bytes(MAX_FIT_BYTES + 1)}
    for source in (write_zip(tmp_path / "data.zip", files), write_folder(tmp_path / "data", files)):
        with find_pairs(source) as source:
            with pytest.raises(UserError, match=r"a_0\.jpg: is longer than 1,000 bytes"):
                source.pairs[0].image_bytes()
            with pytest.raises(UserError, match=r"a_0\.mat: is longer than 262,144 bytes"):
                source.pairs[0].fit_bytes()


def test_a_bomb_that_understates_its_size_gives_no_more_than_it_states(tmp_path):
    path = write_zip(tmp_path / "data.zip", {"a_0.jpg": bytes(50 << 20), "a_0.mat": b""})
    content = path.read_bytes()
    stated = struct.pack("<I", 50 << 20)
    assert content.count(stated) == 2
    path.write_bytes(content.replace(stated, struct.pack("<I", 1000)))
    with find_pairs(path) as source, pytest.raises(UserError, match=r"a_0\.jpg: cannot be read"):
        source.pairs[0].image_bytes()
