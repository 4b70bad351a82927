"""jobs.feed: new entries of RSS and Atom become events, each once; hostile XML none."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from jobs.feed import feed
from py_agent import HttpError
from py_agent.testing import AgentUnderTest

from ..http.support import SHORT, Server, Talk, head, reply

SECRET = "canary-4711"
XML = "application/xml; charset=utf-8"

ATOM = """<?xml version="1.0" encoding="utf-8"?>
<!-- a comment with <a> tag --><?xml-stylesheet href="style.xsl"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>Example</title>
<entry><id>tag:example.org,2026:7</id><title>News</title><link href="/7"/>
<published>2026-01-05T13:00:00+01:00</published><updated>2026-01-05T12:30:00Z</updated>
<author><name>Ann</name></author><category term="world"/><category term="sun"/>
<link rel="enclosure" href="https://example.org/7.mp3"/>
<summary type="html">&lt;p&gt;It happened.&lt;/p&gt;</summary></entry></feed>"""


def rss(*items: str) -> str:
    """Return a feed with such items."""
    inside = "".join(f"<item>{item}</item>" for item in items)
    return f'<rss version="2.0"><channel><title>T</title>{inside}</channel></rss>'


def entries(*numbers: int) -> list[str]:
    """Return items with ids of their own."""
    return [f"<guid>https://example.org/{n}</guid><title>{n}</title>" for n in numbers]


def answer(text: str | bytes, **headers: object) -> bytes:
    """Return an answer with a feed."""
    body = text.encode() if isinstance(text, str) else text
    return reply(200, body, **{"Content_Type": XML, **headers})


def read(agent: AgentUnderTest, web: Server, *answers: Any, **given: Any) -> list[str]:
    """Read the feed once per answer; return the identifiers of all events so far."""
    for each in answers:
        web.say(each if isinstance(each, bytes) or callable(each) else answer(each))
        agent.run_job(feed, **{"url": web.url("/feed.xml"), **given})
    return [event.identifier for event in agent.published("feed.entry")]


def data(agent: AgentUnderTest) -> Any:
    """Return the data of the only event."""
    (event,) = agent.published("feed.entry")
    return event.data


# What is published


def test_an_atom_entry_is_published_whole(running: AgentUnderTest, web: Server) -> None:
    """Given an Atom feed, Then its entry is an event with everything in plain JSON."""
    assert read(running, web, ATOM) == ["tag:example.org,2026:7"]
    assert data(running) == {
        "id": "tag:example.org,2026:7",
        "title": "News",
        "link": web.url("/7"),
        "summary": "<p>It happened.</p>",
        "published": "2026-01-05T12:00:00+00:00",
        "updated": "2026-01-05T12:30:00+00:00",
        "author": "Ann",
        "categories": ["world", "sun"],
        "enclosures": ["https://example.org/7.mp3"],
        "feed": "Example",
    }


def test_an_rss_item_with_nothing_but_a_title(running: AgentUnderTest, web: Server) -> None:
    """Given an item without anything else, Then it is an event with empty fields."""
    (name,) = read(running, web, rss("<title>Alone</title>"))
    assert name.startswith(f"127.0.0.1:{web.port}/feed.xml ")
    assert data(running) == {
        "id": "", "title": "Alone", "link": "", "summary": "", "published": None,
        "updated": None, "author": "", "categories": [], "enclosures": [], "feed": "T",
    }  # fmt: skip


def test_rss_1_is_a_feed(running: AgentUnderTest, web: Server) -> None:
    """Given RDF, Then the resource is the identifier."""
    text = """<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    xmlns="http://purl.org/rss/1.0/"><channel rdf:about="x"><title>T</title></channel>
    <item rdf:about="https://example.org/1"><title>a</title></item></rdf:RDF>"""
    assert read(running, web, text) == ["https://example.org/1"]


def test_the_oldest_entry_comes_first(running: AgentUnderTest, web: Server) -> None:
    """Given a feed that begins with the newest, Then events are in the order of time."""
    read(running, web, rss(*entries(3, 2, 1)))
    assert [event.data["title"] for event in running.published()] == ["1", "2", "3"]


def test_an_entry_is_published_once(running: AgentUnderTest, web: Server) -> None:
    """Given one more entry in the second poll, Then one event is new."""
    names = read(running, web, rss(*entries(2, 1)), rss(*entries(3, 2, 1)))
    assert [name[-1] for name in names] == ["1", "2", "3"]


def test_an_empty_feed_is_no_error(running: AgentUnderTest, web: Server) -> None:
    """Given a feed without entries, Then the run succeeds."""
    assert read(running, web, rss()) == []


def test_an_unchanged_feed_is_not_sent_again(running: AgentUnderTest, web: Server) -> None:
    """Given an ETag, When polled again, Then the server is asked for changes only."""
    read(running, web, answer(rss(*entries(1)), ETag='"a"'), reply(304))
    assert web.seen[1].headers["if-none-match"] == '"a"'


def test_five_hundred_old_entries_fire_nothing(
    running: AgentUnderTest, web: Server
) -> None:
    """Given a baseline of 500 entries, When entry 501 comes, Then it alone fires, once."""
    fired = running.record({"event_type": ("==", "feed.entry")})
    running.add_job(
        feed, every="1 hour", first="baseline", url=web.url("/feed.xml"), name="news"
    )
    old, new = rss(*entries(*range(500, 0, -1))), rss(*entries(*range(501, 0, -1)))
    web.say(answer("<html>"), answer(old), answer(new), answer(new))
    running.advance(hours=5)
    assert [event.data["title"] for event in fired] == ["501"]
    assert len(running.published("feed.entry")) == 501
    outcomes = [run.outcome for run in running.runs("news")]
    assert outcomes[:4] == ["failed", "completed", "completed", "completed"]


# Identifiers


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("<guid>https://example.org/1</guid>", "https://example.org/1"),
        ("<guid>urn:uuid:1225c695</guid>", "urn:uuid:1225c695"),
        ("<guid isPermaLink='false'>123</guid>", "{address} 123"),
        ("<guid>123</guid>", "{address} 123"),
        ("<guid>yt:video:x</guid>", "{address} yt:video:x"),
        ("<link>https://example.org/a</link>", "https://example.org/a"),
        ("<guid> </guid><link>/a</link>", "{base}/a"),
    ],
)
def test_what_tells_an_entry_from_others(
    running: AgentUnderTest, web: Server, item: str, expected: str
) -> None:
    """Given an id, URI or not, or a link, Then that is the identifier."""
    address, base = f"127.0.0.1:{web.port}/feed.xml", web.url("")
    assert read(running, web, rss(item)) == [expected.format(address=address, base=base)]


def test_two_feeds_may_share_ids(running: AgentUnderTest, web: Server) -> None:
    """Given the id 1 in two feeds of one host, Then these are two events."""
    for url in ("/a.xml", "/b.xml", "/a.xml?kind=1", "/a.xml?kind=2"):
        names = read(running, web, rss("<guid>1</guid>"), url=web.url(url))
    assert len(names) == 4


def test_entries_without_id_and_link_are_told_apart(
    running: AgentUnderTest, web: Server
) -> None:
    """Given the same title with other dates or texts, Then each is an event, once."""
    text = rss(
        "<title>a</title><pubDate>yesterday</pubDate>",
        "<title>a</title><pubDate>today</pubDate>",
        "<title>a</title><description>b</description>",
        "<description>b</description>",
    )
    assert len(set(read(running, web, text, text))) == 4


def test_a_very_long_id_is_shortened(running: AgentUnderTest, web: Server) -> None:
    """Given an id beyond what the store takes, Then its digest stands for it."""
    (name,) = read(running, web, rss(f"<guid>https://example.org/{'x' * 2000}</guid>"))
    assert len(name) == 64


def test_no_secret_of_the_url_is_published(
    running: AgentUnderTest, web: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a password and a token in the URL, Then neither is in an event or the log."""
    url = web.url(f"/feed.xml?key={SECRET}").replace("//", f"//me:{SECRET}@")
    caplog.set_level("DEBUG")
    read(running, web, rss("<guid>1</guid><link>a</link><broken>"), url=url)
    (event,) = running.published()
    assert SECRET not in repr(event) + repr(event.data) + caplog.text
    assert event.data["link"] == web.url("/a")


# Dates


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mon, 05 Jan 2026 12:00:00 GMT", "2026-01-05T12:00:00+00:00"),
        ("Mon, 05 Jan 2026 12:00:00 -0530", "2026-01-05T17:30:00+00:00"),
        ("Mon, 05 Jan 2026 12:00:00 EST", "2026-01-05T17:00:00+00:00"),
        ("Mon, 05 Jan 2026 12:00:00", "2026-01-05T12:00:00+00:00"),
        ("2026-01-05T12:00:00", "2026-01-05T12:00:00+00:00"),
        ("2026-01-05T12:00:00.75+05:30", "2026-01-05T06:30:00+00:00"),
        ("2024-02-29T12:00:00Z", "2024-02-29T12:00:00+00:00"),
        ("Sat, 31 Dec 2016 23:59:60 GMT", "2017-01-01T00:00:00+00:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00"),
        ("Tue, 19 Jan 2038 03:14:08 GMT", "2038-01-19T03:14:08+00:00"),
        ("2106-02-07T06:28:16Z", "2106-02-07T06:28:16+00:00"),
        ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59+00:00"),
        ("nonsense", None),
        ("", None),
        ("Wed, 99 Foo 99999 99:99:99 +9999", None),
        ("0000-00-00T00:00:00Z", None),
        ("9999-12-31T23:59:59-12:00", None),
        ("0001-01-01T00:00:00+12:00", None),
    ],
)
def test_dates_are_read_by_rule(
    running: AgentUnderTest, web: Server, text: str, expected: str | None
) -> None:
    """Given a date, Then it is UTC, or null if it cannot be read; the entry stays."""
    read(running, web, rss(f"<guid>1</guid><pubDate>{text}</pubDate>"))
    assert data(running)["published"] == expected
    assert data(running)["updated"] is None


@pytest.mark.parametrize("text", ["9" * 5000, "a " * 5000, "1:" * 999, "-" * 999, "\u0663"])
def test_no_date_stops_an_entry(running: AgentUnderTest, web: Server, text: str) -> None:
    """Given what nobody can call a date, Then the entry is an event nevertheless."""
    read(running, web, rss(f"<guid>1</guid><pubDate>{text}</pubDate>"))
    assert data(running)["published"] is None or data(running)["published"][4] == "-"


# What is no feed


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("<!DOCTYPE html><html><body>Sign in</body></html>", "a web page and no feed"),
        ("<html><body>Error</body></html>", "a web page and no feed"),
        ("<opml><body/></opml>", "neither RSS nor Atom"),
        ('{"version": "https://jsonfeed.org/version/1"}', "neither RSS nor Atom"),
        ("", "neither RSS nor Atom"),
        ("<!-- " * 9, "neither RSS nor Atom"),
        ("Fatal error <rss>", "neither RSS nor Atom"),
        (b"\x00\x01\x02", "neither RSS nor Atom"),
        ("<" * 9, "neither RSS nor Atom"),
        ("<rss version='2.0'><channel><item><guid>https://e.org/12", "breaks off"),
        (ATOM[:-20], "breaks off"),
    ],
)
def test_what_is_no_whole_feed_fails_the_run(
    running: AgentUnderTest, web: Server, body: Any, problem: str
) -> None:
    """Given something else or half a feed, Then one clear line, and no event."""
    with pytest.raises(ValueError, match=problem) as caught:
        read(running, web, answer(body), url=web.url(f"/feed.xml?key={SECRET}"))
    assert str(caught.value).startswith(f"{web.url('/feed.xml')}?...: ")
    assert "\n" not in str(caught.value)
    assert running.published() == []


def trickle(talk: Talk) -> None:
    """Send the body so slowly that it never ends."""
    talk.send(head(Content_Length=10**5, Content_Type=XML))
    talk.forever(b" ", 0.02)


@pytest.mark.parametrize(
    "bad",
    [reply(404), reply(410), reply(503, Retry_After=7200), trickle,
     head(Content_Length=9999) + rss(*entries(1)).encode(), reply(200, b"<" * 99_999)],
)  # fmt: skip
def test_what_cannot_be_had_fails_the_run(
    running: AgentUnderTest, web: Server, bad: Any
) -> None:
    """Given a status, half an answer, a slow or a large one, Then there is no event."""
    with pytest.raises(HttpError):
        read(running, web, bad, timeout=SHORT, max_bytes=10_000)
    assert running.published() == []


# Feeds with mistakes


@pytest.mark.parametrize(
    "text",
    [
        rss("<guid>1</guid><title>a & b &nbsp; c</title>"),
        rss("<guid>1</guid><title>a</b></title>"),
        rss("<guid>1</guid><unknown:tag>x</unknown:tag>"),
        rss("<guid>1</guid><title>\x08</title>"),
        rss("<guid>1</guid>") + "<b>PHP warning</b>",
    ],
)
def test_a_feed_with_mistakes_is_read(
    running: AgentUnderTest, web: Server, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Given XML that is not well-formed, Then it is read as far as it goes, and warned."""
    assert len(read(running, web, text)) == 1
    assert "not well-formed" in caplog.text


def test_references_to_no_character_are_replaced(
    running: AgentUnderTest, web: Server
) -> None:
    """Given an emoji in two halves and other impossible ones, Then the entry is read."""
    text = "&#xD83D;&#xDE00; &#99999999999999; &#0; &#x41;"
    read(running, web, rss(f"<guid>1</guid><title>{text}</title>"))
    assert data(running)["title"] == "\ufffd\ufffd \ufffd \ufffd A"


def test_one_entry_that_is_refused_stops_no_other(
    running: AgentUnderTest, web: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Given an entry beyond the store's limit, Then the others are events."""
    large = f"<guid>https://e.org/l</guid><description>{'x' * 1_100_000}</description>"
    assert len(read(running, web, rss(large, *entries(1, 2)))) == 2
    assert "an entry is left out" in caplog.text


def test_entries_that_are_all_refused_fail_the_run(
    running: AgentUnderTest, web: Server
) -> None:
    """Given an event type that cannot be, Then the run fails and is not silently empty."""
    with pytest.raises(ValueError, match="no entry could be published"):
        read(running, web, rss(*entries(1, 2)), event_type="x" * 300)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (rss("<title>ü</title>").encode(), "text/xml"),
        (rss("<title>ü</title>").encode(), ""),
        (rss("<title>ü</title>").encode("latin-1"), "text/xml; charset=iso-8859-1"),
        (rss("<title>ü</title>").encode("cp1252"), "application/rss+xml"),
        (rss("<title>ü</title>").encode("utf-8-sig"), "text/xml; charset=latin-1"),
        (rss("<title>ü</title>").encode("utf-16"), "text/xml"),
        (rss("<title>ü</title>").encode("utf-32"), "text/xml"),
        (b"\n <?xml version='1.0' encoding='latin-1'?>" + rss("<title>ü</title>")
         .encode("latin-1"), "application/xml"),
        (rss("<title>ü</title>").encode(), "text/xml; charset=no-such"),
        (rss("<title>ü</title>").encode(), "text/xml; charset=punycode"),
        (rss("<title>ü</title>").encode(), "text/xml; charset=zlib"),
    ],
)  # fmt: skip
def test_any_charset_is_read(
    running: AgentUnderTest, web: Server, body: bytes, content_type: str
) -> None:
    """Given a mark, a header, a declaration or none of them, Then the text is right."""
    read(running, web, answer(body, Content_Type=content_type))
    assert data(running)["title"] == "ü"


@pytest.mark.parametrize(
    "payload",
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}${x}%s",
     "javascript:alert(1)", "<a href='javascript:alert(1)'>x</a>"],
)  # fmt: skip
def test_texts_are_data(running: AgentUnderTest, web: Server, payload: str) -> None:
    """Given scripts in a feed, Then they are text like any other, and change nothing."""
    text = escape(payload)
    read(running, web, rss(f"<guid>1</guid><title>{text}</title><author>{text}</author>"))
    assert data(running)["title"] == payload
    assert data(running)["author"] == payload


# Hostile feeds

LAUGHS = "".join(
    f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' if n else '<!ENTITY l0 "lol">'
    for n in range(10)
)
BOMBS = {
    "laughs": f"<!DOCTYPE rss [{LAUGHS}]>",
    "quadratic": f'<!DOCTYPE rss [<!ENTITY l9 "{"x" * 50_000}">]>',
    "file": '<!DOCTYPE rss [<!ENTITY l9 SYSTEM "file:///etc/passwd">]>',
    "http": '<!DOCTYPE rss [<!ENTITY l9 SYSTEM "{url}">]>',
    "parameter": '<!DOCTYPE rss [<!ENTITY % p SYSTEM "{url}"> %p;]>',
    "external": '<!DOCTYPE rss SYSTEM "{url}">',
    "hidden": '<!-- <rss> --><?x <rss>?>\n<!DOCTYPE rss [<!ENTITY l9 SYSTEM "{url}">]>',
    "alone": '<!ENTITY l9 "x">',
    "lower": '<!doctype rss [<!entity l9 SYSTEM "{url}">]>',
}


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "utf-32", "cp037"])
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_declarations_are_refused(
    running: AgentUnderTest, web: Server, bomb: str, charset: str
) -> None:
    """Given a DTD in any disguise, Then nothing is read, nothing grows or is fetched."""
    text = bomb.replace("{url}", web.url("/leak")) + rss(f"<title>{'&l9;' * 9999}</title>")
    said = answer(text.encode(charset), Content_Type=f"text/xml; charset={charset}")
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="declares a DTD or entities"):
            read(running, web, said)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert [seen.target for seen in web.seen] == ["/feed.xml"]
    assert running.published() == []


@pytest.mark.parametrize(
    "late",
    ['<rss version="2.0"><!DOCTYPE rss [<!ENTITY x "boom">]><channel>',
     '<rss version="2.0"><channel><!ENTITY x "boom">'],
)  # fmt: skip
def test_declarations_in_the_middle_do_nothing(
    running: AgentUnderTest, web: Server, late: str
) -> None:
    """Given a DTD where XML knows none, Then its entities stay what they are called."""
    item = "<item><guid>1</guid><title>&x;</title></item></channel></rss>"
    read(running, web, late + item)
    assert [event.data["title"] for event in running.published()] in (["&x;"], [])


def test_a_web_page_inside_an_entry_is_text(running: AgentUnderTest, web: Server) -> None:
    """Given an entry that quotes a whole page with its DOCTYPE, Then it is read."""
    inside = '<!DOCTYPE html PUBLIC "-//W3C//DTD HTML 4.0//EN"><html>x</html>'
    text = rss(f"<guid>1</guid><description><![CDATA[{inside}]]></description>")
    assert len(read(running, web, text)) == 1
    assert "x</html>" in data(running)["summary"]


HOSTILE = {
    "less": "<" * 100_000,
    "amp": "&" * 100_000,
    "comment": "<!--" * 25_000,
    "nested": "<a>" * 20_000,
    "attributes": "<a " + "a=" * 50_000,
    "style": f"&lt;p style='{'a:url(' * 20_000}'&gt;",
}


@pytest.mark.parametrize("inside", HOSTILE.values(), ids=HOSTILE.keys())
def test_purpose_made_texts_take_no_time(
    running: AgentUnderTest, web: Server, inside: str
) -> None:
    """Given what makes simple readers slow, Then the run ends, well or not."""
    text = rss(f"<guid>1</guid><description>{inside}</description>")
    assert len(read(running, web, text)) == 1


def test_a_feed_that_takes_for_ever_is_given_up(
    running: AgentUnderTest, web: Server
) -> None:
    """Given an author over whom the reader would think for minutes, Then it may not."""
    text = rss(f"<guid>1</guid><author>{'a' * 400_000}</author>")
    with pytest.raises(ValueError, match="takes more than 1 s to read"):
        read(running, web, text, timeout=1)
    assert running.published() == []


# Without the library


def test_without_feedparser_it_says_what_to_install() -> None:
    """Given an installation without the extra, Then the error names it."""
    script = "import sys; sys.modules['feedparser'] = None; import jobs.feed"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert "pip install 'py-agent[feeds]'" in done.stderr.splitlines()[-1]
