# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Names of a zip's entries: as the program that made the zip meant them, or refused. Never something else."""

from __future__ import annotations

import shutil
import stat
import subprocess
import unicodedata
from pathlib import Path

import pytest
from bundle_archives import Part, script, unicode_path, zip64_of, zip_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from thoroughness import scaled

from batchy_provider.bundles.errors import BundleRefusedError
from batchy_provider.bundles.unpack import unpack

FOLDER = stat.S_IFDIR | 0o755
NAMES = ["données.csv", "dossier/é.txt", "日本語.txt", "Ünï/ß", "emoji-😀", "e\u0301tat"]


def names(folder: Path, content: bytes) -> list[str]:
    """The files of a bundle, when it is unpacked."""
    (folder / "a.zip").write_bytes(content)
    unpack(folder / "a.zip", folder / "tree", bundle="a.zip")
    return sorted(p.relative_to(folder / "tree").as_posix() for p in (folder / "tree").rglob("*") if p.is_file())


def reason(folder: Path, content: bytes) -> str:
    with pytest.raises(BundleRefusedError) as caught:
        names(folder, content)
    return caught.value.reason


MAKERS = {
    "UTF-8, marked": lambda name: Part(name),
    "Linux zip": lambda name: Part(name.encode(), flags=0, extra=unicode_path(name.encode(), name.encode())),
    "Linux zip, plain": lambda name: Part(name.encode(), flags=0),
    "macOS": lambda name: Part(unicodedata.normalize("NFD", name).encode(), flags=8),
    "Darwin": lambda name: Part(name.encode(), flags=0, system=19),
    "zip in a Latin-1 locale": lambda name: Part(
        name.encode("latin-1", "replace"),
        flags=0,
        extra=unicode_path(name.encode("latin-1", "replace"), name.encode()),
    ),
    "zip, names escaped": lambda name: Part(
        name.encode("ascii", "xmlcharrefreplace").replace(b"&#", b"#U"),
        extra=unicode_path(name.encode("ascii", "xmlcharrefreplace").replace(b"&#", b"#U"), name.encode()),
    ),
    "zip, names with ?": lambda name: Part(
        name.encode("ascii", "replace"), extra=unicode_path(name.encode("ascii", "replace"), name.encode())
    ),
    "bsdtar .": lambda name: Part("./" + name),
}


def test_more_than_one_point_is_no_prefix(tmp_path: Path) -> None:
    for name, said in (("././a", "'.'"), (".//a", "absolute"), ("./../a", "leads out")):
        assert said in reason(tmp_path, zip_of(script(), Part(name)))


@pytest.mark.parametrize("maker", MAKERS)
def test_a_name_is_what_the_maker_of_the_zip_meant(tmp_path: Path, maker: str) -> None:
    found = names(tmp_path, zip_of(script(), *map(MAKERS[maker], NAMES)))
    meant = [unicodedata.normalize("NFD", name) for name in NAMES] if maker == "macOS" else NAMES
    assert found == sorted([*meant, "script.sh"])


@pytest.mark.parametrize("system", [0, 3, 10, 11])
@pytest.mark.parametrize("page", ["cp437", "cp850", "cp1252", "cp932", "latin-1", "cp866"])
def test_a_name_in_the_code_page_of_another_machine_is_refused(tmp_path: Path, system: int, page: str) -> None:
    name = {"cp932": "日本.txt", "cp866": "Привет"}.get(page, "données.csv")
    said = reason(tmp_path, zip_of(script(), Part(name.encode(page), flags=0, system=system)))
    assert "code page" in said or "not UTF-8" in said
    assert "names in UTF-8" in said


TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\"), min_size=1, max_size=12)
PAGES = ["utf-8", "cp437", "cp850", "cp866", "cp932", "cp1252", "latin-1", "gb18030", "euc-kr"]


@pytest.mark.slow
@settings(max_examples=scaled(150))
@given(
    name=TEXT,
    page=st.sampled_from(PAGES),
    system=st.sampled_from([0, 3, 7, 10, 11, 19]),
    marked=st.booleans(),
    field=st.booleans(),
    prefix=st.sampled_from(["", "./"]),
)
@example(name="données", page="cp850", system=0, marked=False, field=False, prefix="")
@example(name="données", page="utf-8", system=3, marked=False, field=False, prefix="./")
def test_any_name_of_any_maker_is_the_meant_one_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    page: str,
    system: int,
    marked: bool,
    field: bool,
    prefix: str,
) -> None:
    """A Unix names files in bytes, of which all that today's systems make are UTF-8; the others use their code page."""
    page = "utf-8" if marked or system in (3, 19) else page
    try:
        raw = (prefix + name).encode(page)
    except UnicodeEncodeError:
        return
    part = Part(
        raw,
        flags=0x800 if marked else 0,
        system=system,
        extra=unicode_path(raw, (prefix + name).encode()) if field else b"",
    )
    folder = tmp_path_factory.mktemp("names")
    try:
        found = names(folder, zip_of(script(), part))
    except BundleRefusedError:
        assert name in (".", "..", "script.sh") or name.casefold() == "script.sh" or name[1:2] == ":" or not field
    else:
        assert found == sorted([name, "script.sh"])
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (Part(b"caf\x82", flags=0, extra=unicode_path(b"other", "café".encode())), "contradict each other"),
        (Part(b"caf\x82", flags=0, extra=unicode_path(b"caf\x82", b"caf\x82")), "not UTF-8"),
        (Part(b"caf\x82", flags=0, extra=unicode_path(b"caf\x82", b"../../evil")), "leads out"),
        (Part(b"caf\x82", flags=0, extra=unicode_path(b"caf\x82", b"/etc/cron.d/x")), "absolute"),
        (Part("good", extra=unicode_path(b"good", b"evil")), "also written as"),
        (Part("good", extra=unicode_path(b"good", b"good", version=2)), "contradict each other"),
        (Part("good", extra=b"up\2\0\1\0"), "damaged"),
        (Part("é", extra=unicode_path("é".encode(), b"e")), "also written as"),
        (Part("good", extra=2 * unicode_path(b"good", b"good")), "damaged"),
        (Part(b"\xff", flags=0x800), "is marked as UTF-8"),
    ],
)
def test_a_second_name_of_an_entry_hides_nothing(tmp_path: Path, part: Part, said: str) -> None:
    found = reason(tmp_path, zip_of(script(), part))
    assert said in found or "the zip is damaged" in found  # newer Pythons refuse some of them before we do


def test_a_zip_of_the_folder_itself_is_unpacked(tmp_path: Path) -> None:
    """`bsdtar -a -cf ../b.zip .`"""
    root, lib = Part("./", mode=FOLDER), Part("./lib/", mode=FOLDER)
    assert names(tmp_path, zip_of(root, Part("./script.sh"), lib, Part("./lib/a"))) == ["lib/a", "script.sh"]


def test_the_folder_itself_comes_once_and_hides_no_data(tmp_path: Path) -> None:
    root = Part("./", mode=FOLDER)
    assert "'.'" in reason(tmp_path, zip_of(root, root, script()))
    assert "has data" in reason(tmp_path, zip_of(Part("./", b"x", mode=FOLDER), script()))
    assert "twice" in reason(tmp_path, zip_of(script(), Part("./script.sh", b"other")))


def test_a_streamed_zip_with_the_end_of_a_large_one_is_unpacked(tmp_path: Path) -> None:
    assert names(tmp_path, zip64_of(script())) == ["script.sh"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zip64_of(script(), entries=20_000), "20,000 entries"),
        (zip64_of(script(), entries=2), "declares 2 entries"),
        (zip64_of(script(), place=0), "not where it must be"),
        (zip64_of(script())[:-42] + zip64_of(script())[-22:], "Zip64 record is missing"),
        (zip64_of(script())[:-22] + zip_of(script(), Part("a"))[-22:], "contradict each other"),
    ],
)
def test_a_zip64_whose_ends_disagree_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in reason(tmp_path, content)


def test_a_last_block_that_is_filled_with_zeros_is_no_second_zip(tmp_path: Path) -> None:
    """`bsdtar --format zip -cf - *` to a pipe."""
    assert names(tmp_path, zip_of(script(), after=bytes(9000))) == ["script.sh"]
    (tmp_path / "other").mkdir()
    assert "after the end" in reason(tmp_path / "other", zip_of(script(), after=bytes(9000) + b"x"))


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (["job/script.sh", "README"], "There is one in the folder 'job': make 'job' the root"),
        (["a/b/script.sh"], "There is one in the folder 'a/b'"),
        (["one/script.sh", "two/script.sh"], "There is one in the folder 'one', and 1 more"),
        (["job/script.sh", "__MACOSX/job/._script.sh"], "everything is inside the folder 'job'"),
        (["my job/script.sh"], "cd 'my job' && zip -r"),
        (["__MACOSX/script.sh"], "it has no script.sh at its root."),
        (["-"], "what zip calls data that it reads from a pipe"),
    ],
)
def test_a_script_that_lies_deeper_is_pointed_at(tmp_path: Path, entries: list[str], said: str) -> None:
    assert said in reason(tmp_path, zip_of(*map(Part, entries)))


def test_what_macos_adds_does_no_harm(tmp_path: Path) -> None:
    content = zip_of(script(), Part("__MACOSX/", mode=FOLDER), Part("__MACOSX/._script.sh", b"\0\5\x16\7"))
    assert names(tmp_path, content) == ["__MACOSX/._script.sh", "script.sh"]


COMMANDS = {
    "zip -qr {out} .": "zip",
    "zip -qr - . | cat > {out}": "zip",
    "LC_ALL=C zip -qr {out} .": "zip",
    "bsdtar -a -cf {out} .": "bsdtar",
    "bsdtar --format zip -cf - * | cat > {out}": "bsdtar",
    "LC_ALL=C bsdtar --format zip -cf {out} *": "bsdtar",
    "7z a -tzip {out} .": "7z",
    "python3 -m zipfile -c {out} *": "python3",
}


@pytest.mark.parametrize("command", [c for c, program in COMMANDS.items() if shutil.which(program)])
def test_zips_of_real_programs(tmp_path: Path, command: str) -> None:
    """Those that are on this machine; the bytes of the others are made above."""
    source = tmp_path / "source"
    (source / "dossier").mkdir(parents=True)
    for name in ("script.sh", "données.csv", "dossier/日本.txt"):
        (source / name).write_text("x")
    subprocess.run(
        command.format(out=tmp_path / "a.zip"), shell=True, cwd=source, check=True, stdout=subprocess.DEVNULL
    )
    assert names(tmp_path, (tmp_path / "a.zip").read_bytes()) == ["données.csv", "dossier/日本.txt", "script.sh"]
