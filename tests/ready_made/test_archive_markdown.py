"""listeners.archive_markdown: one whole file per article, where markup means nothing."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from listeners.archive_markdown import archive_markdown, plain, slug
from listeners.whole_file import replacing, unwritable
from py_agent import Discard, Event, Pause, Retry
from py_agent.testing import AgentUnderTest

MOMENT = datetime(2026, 1, 5, 12, tzinfo=UTC)
DATA = {
    "url": "https://example.org/tea", "title": "Tea: hot & wet", "author": "Ann Lee",
    "site": "Example", "published": "2025-12-31", "language": "en", "words": 6,
    "summary": "All about tea.", "text": "Tea is hot.\nIt is wet.", "tags": ["drinks"],
}  # fmt: skip


def event(identifier: str = "https://example.org/tea", **data: Any) -> Event:
    return Event("archive_article", identifier, DATA | data, created=MOMENT)


def only(folder: Path) -> Path:
    """Return the only file in a folder."""
    (file,) = folder.iterdir()
    return file


def front_matter(text: str) -> dict[str, Any]:
    """Return the values between the first two lines of dashes; each is JSON, too."""
    lines = text.split("\n")
    assert lines[0] == "---"
    pairs = [line.split(": ", 1) for line in lines[1 : lines.index("---", 1)]]
    return {key: json.loads(value) for key, value in pairs}


def test_an_article_is_a_file(tmp_path: Path) -> None:
    """Given an article, When archived, Then the file has its data and its text."""
    archive_markdown(event(), tmp_path / "new" / "notes", tags=["archive"])
    file = only(tmp_path / "new" / "notes")
    assert file.name == "2026-01-05-tea-hot-wet-424ebfaf3337.md"
    assert file.read_text(encoding="utf-8") == (
        "---\n"
        'title: "Tea: hot & wet"\n'
        'url: "https://example.org/tea"\n'
        'author: "Ann Lee"\n'
        'site: "Example"\n'
        'published: "2025-12-31"\n'
        'language: "en"\n'
        'archived: "2026-01-05T12:00:00+00:00"\n'
        'tags: ["archive", "drinks"]\n'
        "---\n\n"
        "# Tea: hot &amp; wet\n\n"
        "<https://example.org/tea>\n\n"
        "> All about tea.\n\n"
        "Tea is hot.\n\nIt is wet.\n"
    )


def test_the_agent_writes_what_is_published(
    running: AgentUnderTest, tmp_path: Path
) -> None:
    """Given the listener without a filter, Then it gets articles and nothing else."""
    running.add_listener(archive_markdown, folder=tmp_path / "notes")
    running.handler.publish("archive_article", "https://example.org/tea", DATA)
    running.handler.publish("archive_failed", "https://example.org/x@1", DATA)
    running.drain()
    assert len(list((tmp_path / "notes").iterdir())) == 1
    assert [each.state for each in running.deliveries()] == ["completed"]


def test_a_rewritten_article_replaces_its_own_file(tmp_path: Path) -> None:
    """Given the same article with other words on another day, Then there is one file."""
    archive_markdown(event(), tmp_path)
    archive_markdown(event("https://example.org/2"), tmp_path)
    later = Event("archive_article", "https://example.org/tea",
                  DATA | {"title": "Coffee", "text": "New."})  # fmt: skip
    for _ in range(2):
        archive_markdown(later, tmp_path)
    found = sorted(tmp_path.iterdir())
    assert len(found) == 2
    assert sum("# Coffee" in each.read_text() for each in found) == 1


def test_what_others_have_in_the_folder_stays(tmp_path: Path) -> None:
    """Given other notes, one with the same title, Then they are as they were."""
    mine = tmp_path / "2026-01-05-tea-hot-wet.md"
    mine.write_text("mine")
    archive_markdown(event(), tmp_path)
    assert mine.read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("../../etc/passwd", "etc-passwd"),
        ("/etc/passwd\x00.txt", "etc-passwd-txt"),
        ("CON", "con"),
        ("a\nb\tc\x1b[31m", "a-b-c-31m"),
        ("\u202egpj.exe", "gpj-exe"),
        ("Grün", "grün"),
        ("Gru\u0308n", "grün"),
        ("茶について", "茶について"),
        ("हिन्दी", "हिन्दी"),
        ("🍵", "untitled"),
        ("", "untitled"),
        ("...", "untitled"),
        ("x" * 300, "x" * 80),
        ("茶" * 300, "茶" * 26),
        ("\ud800", "untitled"),
    ],
)
def test_a_title_is_a_safe_part_of_a_name(
    title: str, expected: str, tmp_path: Path
) -> None:
    """Given any title, Then the file is in the folder, with a name that can be."""
    assert slug(title) == expected
    archive_markdown(event(title=title), tmp_path)
    assert f"-{expected}-" in only(tmp_path).name


@given(title=st.text(max_size=400), text=st.text(min_size=1).filter(str.strip))
@settings(max_examples=20, deadline=None)
def test_nothing_breaks_out(tmp_path_factory: Any, title: str, text: str) -> None:
    """Given any texts, Then the front matter is what it was, and the body has no HTML."""
    folder = tmp_path_factory.mktemp("notes")
    archive_markdown(event(title=title, author=title, text=text, summary=text), folder)
    written = only(folder).read_text(encoding="utf-8")
    found = front_matter(written)
    assert set(found) <= {"title", "url", "author", "site", "published", "language",
                          "archived", "tags"}  # fmt: skip
    assert found["title"] == (title.strip()[:300] or "Untitled")
    body = written.split("\n---\n", 1)[1].replace("<https://example.org/tea>", "", 1)
    assert "<" not in body
    assert len(only(folder).name.encode()) < 143


@pytest.mark.parametrize(
    "evil",
    [
        'x"\n---\nevil: true', "x\\", "x\u2028evil: 1", "x\x85evil: 1", "---", '"]',
        "x\r\nevil: 1", "\ufeffx", "!!python/object:os.system", "{{ site.secret }}",
    ],
)  # fmt: skip
def test_a_title_stays_in_its_line(evil: str, tmp_path: Path) -> None:
    """Given what would end a line or a text in YAML, Then it is within the quotes."""
    archive_markdown(event(title=evil, tags=[evil]), tmp_path)
    written = only(tmp_path).read_text(encoding="utf-8")
    assert front_matter(written)["title"] == evil
    assert front_matter(written)["tags"] == [evil]
    head = written.split("\n---\n")[0]
    assert head.splitlines()[1].startswith('title: "')
    assert len(head.splitlines()) == 9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("a & b &lt; c", "a &amp; b &amp;lt; c"),
        ("[x](javascript:y) ![z](w)", "\\[x\\](javascript:y) !\\[z\\](w)"),
        ("[[note]] #tag *a* _b_ `c`", "\\[\\[note\\]\\] \\#tag \\*a\\* \\_b\\_ \\`c\\`"),
        ("# one", "\\# one"),
        ("- one", "\\- one"),
        ("+ one", "\\+ one"),
        ("1. one", "1\\. one"),
        ("12) one", "12\\) one"),
        ("1.5 and 2", "1\\.5 and 2"),
        ("> one", "&gt; one"),
        ("---", "\\---"),
        ("===", "\\=\\=\\="),
        ("~~~", "\\~\\~\\~"),
        ("| a | b |", "\\| a \\| b \\|"),
        ("{{ x }} {% y %} %%z%%", "\\{\\{ x \\}\\} \\{% y %\\} \\%\\%z\\%\\%"),
        ("C:\\dir 5% a=b ~c", "C:\\\\dir 5% a=b ~c"),
        ("    code", "code"),
        ("a\x00\x1b[31mb", "a \\[31mb"),
        ("Tea - hot, 3. and wet!", "Tea - hot, 3. and wet!"),
    ],
)
def test_markdown_shows_just_the_text(text: str, expected: str) -> None:
    """Given HTML and Markdown in a text, Then it means nothing but itself."""
    assert plain(text) == expected


@given(text=st.text("ab1 .-+*_`~#<>&[]()!|\\\"'={}:/$^%@;\t", max_size=30))
@settings(max_examples=200, deadline=None)
def test_a_reader_of_markdown_sees_the_text(text: str) -> None:
    """Given any marks, When CommonMark is made HTML of, Then it is the text, escaped."""
    line = " ".join(text.split())
    shown = escape(line, quote=False).replace('"', "&quot;")
    assert MarkdownIt().render(plain(text)) == (f"<p>{shown}</p>\n" if line else "")


def test_a_link_that_is_none_is_not_written_as_one(tmp_path: Path) -> None:
    """Given another scheme, or a link with an end in it, Then no link leads there."""
    archive_markdown(event("1", url="javascript:alert(1)"), tmp_path / "a")
    archive_markdown(event("2", url="https://e.org/a> <script>"), tmp_path / "b")
    assert "javascript" not in only(tmp_path / "a").read_text().split("\n---\n")[1]
    assert "<https://e.org/a%3E%20%3Cscript%3E>" in only(tmp_path / "b").read_text()


@pytest.mark.parametrize("data", [None, [], "text", {"text": " "}, {"text": 7}])
def test_what_has_no_text_is_discarded(data: Any, tmp_path: Path) -> None:
    """Given an event that is no article, Then it is a dead letter with the reason."""
    with pytest.raises(Discard, match="has no text"):
        archive_markdown(Event("other", "1", data), tmp_path)
    assert list(tmp_path.iterdir()) == []


# What goes wrong


def test_a_folder_that_cannot_be_written_is_waited_for(
    running: AgentUnderTest, tmp_path: Path
) -> None:
    """Given a file where the folder should be, When it is gone, Then all is written."""
    (tmp_path / "notes").write_text("in the way")
    running.add_listener(archive_markdown, folder=tmp_path / "notes")
    for number in range(3):
        running.handler.publish("archive_article", f"https://e.org/{number}", DATA)
    running.drain()
    assert {each.state for each in running.deliveries()} == {"available"}
    (tmp_path / "notes").unlink()
    running.advance(minutes=2)
    assert len(list((tmp_path / "notes").iterdir())) == 3


def test_what_is_wrong_with_a_disk_is_one_line(tmp_path: Path) -> None:
    """Given errors of the system, Then all events wait for a disk, and one for its name."""
    full = unwritable(OSError(errno.ENOSPC, "No space left on device"), tmp_path)
    assert isinstance(full, Pause) and full.after == 60
    assert str(full).startswith(f"{tmp_path} cannot be written: No space left on device")
    folder = OSError(errno.EISDIR, "Is a directory")
    assert isinstance(unwritable(folder, tmp_path, others=True), Retry)
    assert isinstance(unwritable(folder, tmp_path), Pause)


def test_a_file_of_the_system_is_told_as_what_it_is() -> None:
    """Given a folder in which no file can be made, Then it is not said to be missing."""
    error = OSError(errno.ENOENT, "No such file or directory", "/proc/.a.part")
    said = str(unwritable(error, Path("/proc/a")))
    assert said.startswith("/proc/a cannot be written: no file can be made in /proc;")


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_a_file_in_the_place_of_the_folder_is_told_as_what_it_is(
    tmp_path: Path, inside: str
) -> None:
    """Given a file where the folder should be, Then one line says that."""
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(Pause, match="notes is a file, and should be a folder"):
        archive_markdown(event(), tmp_path / "notes" / inside)
    assert (tmp_path / "notes").read_text() == "mine"


@pytest.mark.parametrize("kind", ["file", "dangling", "circle", "folder"])
def test_a_link_in_its_place_is_replaced_and_not_followed(
    tmp_path: Path, kind: str
) -> None:
    """Given a link with the article's name, Then what it leads to is left alone."""
    notes, other = tmp_path / "notes", tmp_path / "other"
    archive_markdown(event(), notes)
    name = only(notes).rename(notes / "2000-01-01-x-424ebfaf3337.md")
    content = name.read_bytes()
    name.unlink()
    name.symlink_to(name if kind == "circle" else other)
    if kind == "file":
        other.write_text("precious")
    elif kind == "folder":
        other.mkdir()
    archive_markdown(event(), notes)
    assert not only(notes).is_symlink()
    assert only(notes).read_bytes() == content
    assert stat.S_IMODE(only(notes).stat().st_mode) == 0o600
    assert (other.read_text() if kind == "file" else "precious") == "precious"
    assert other.exists() == (kind in ("file", "folder"))


@pytest.mark.parametrize("make", [Path.symlink_to, Path.hardlink_to])
def test_a_draft_never_leads_elsewhere(tmp_path: Path, make: Any) -> None:
    """Given a link where the draft will be, Then the link goes, and not its file."""
    precious = tmp_path / "precious"
    precious.write_text("stays")
    make(tmp_path / ".a.md.part", precious)
    with replacing(tmp_path / "a.md") as draft:
        draft.write(b"new")
    assert (precious.read_text(), (tmp_path / "a.md").read_text()) == ("stays", "new")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """Given no room, When an article is rewritten, Then the old file is whole."""
    archive_markdown(event(), tmp_path)
    before = only(tmp_path).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        with pytest.raises(Pause, match="cannot be written: File too large"):
            archive_markdown(event(text="x" * 50_000), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert only(tmp_path).read_bytes() == before


def test_a_crash_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    """Given a process killed while it writes, Then the file is whole, and goes on."""
    file = tmp_path / "a.md"
    file.write_bytes(b"old")
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from listeners.whole_file import replacing\n"
        "with replacing(Path(sys.argv[1])) as draft:\n"
        "    draft.write(b'half'); draft.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(file)], check=False)
    assert (done.returncode, file.read_bytes()) == (-signal.SIGKILL, b"old")
    with replacing(file) as draft:
        draft.write(b"new")
    assert (only(tmp_path), file.read_bytes()) == (file, b"new")


def test_rights_and_links_are_kept(tmp_path: Path) -> None:
    """Given a file that a link leads to, Then it is replaced there, with its rights."""
    real = tmp_path / "real"
    real.mkdir()
    (real / "a.md").write_bytes(b"old")
    (real / "a.md").chmod(0o644)
    (tmp_path / "a.md").symlink_to(real / "a.md")
    with replacing(tmp_path / "a.md") as draft:
        draft.write(b"new")
    with replacing(tmp_path / "b.md") as draft:
        draft.write(b"new")
    assert (tmp_path / "a.md").is_symlink()
    assert stat.S_IMODE((real / "a.md").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "b.md").stat().st_mode) == 0o600
    assert os.listdir(real) == ["a.md"]
