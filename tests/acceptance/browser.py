"""A headless Chromium that tests open pages in, through its DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

LIMIT = 30  # seconds, far above what any step takes
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")

# Errors in these words of the protocol are the page's own.
TOLD = {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"}


def found() -> str | None:
    """Return the program, None if there is none."""
    return next((path for each in NAMES if (path := shutil.which(each))), None)


class Page:
    """The one page of a browser.

    Args:
        connection: to the page's end of the protocol.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self.told: list[Any] = []  # what the page wrote to the console, or raised
        self.requested: list[str] = []  # the addresses that it asked for

    def call(self, method: str, **values: Any) -> Any:
        """Ask the browser for something and return its answer."""
        self._number += 1
        wanted = {"id": self._number, "method": method, "params": values}
        self._connection.send(json.dumps(wanted))
        while (message := self._receive()).get("id") != self._number:
            pass
        assert "error" not in message, (method, message)
        return message["result"]

    def open(self, url: str) -> None:
        """Open an address and wait until all of it is there."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)
        while self._receive().get("method") != "Page.loadEventFired":
            pass

    def look(self, width: int, height: int, scheme: str = "light") -> None:
        """Show the page on a screen of that size, in light or dark colours."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def ask(self, code: str) -> Any:
        """Return what JavaScript says about the page."""
        done = self.call("Runtime.evaluate", expression=code, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def picture(self, scale: float = 1) -> bytes:
        """Return what the page looks like, all of it, as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        area = {"x": 0, "y": 0, "scale": scale, **{k: size[k] for k in ("width", "height")}}
        done = self.call("Page.captureScreenshot", clip=area, captureBeyondViewport=True)
        return base64.b64decode(done["data"])

    def _receive(self) -> Any:
        message = json.loads(self._connection.recv(timeout=LIMIT))
        method = message.get("method")
        if method in TOLD:
            self.told.append(message["params"])
        elif method == "Network.requestWillBeSent":
            self.requested.append(message["params"]["request"]["url"])
        return message


@contextmanager
def browser(program: str, profile: Path) -> Iterator[Page]:
    """Start a browser that reaches no network, and lend its page.

    Args:
        program: Chromium.
        profile: an empty folder of its own.
    """
    # Its socket's path must be short, so it is not made below the test's folder.
    with tempfile.TemporaryDirectory(prefix="py_agent-") as short:
        process = _start(program, profile, short)
        try:
            with connect(_address(process), max_size=None, open_timeout=LIMIT) as page:
                yield Page(page)
        finally:
            process.kill()
            process.wait(LIMIT)
            assert process.stderr is not None
            process.stderr.close()


def _start(program: str, profile: Path, short: str) -> subprocess.Popen[str]:
    rootless = ["--no-sandbox"] if os.geteuid() == 0 else []
    return subprocess.Popen(
        [
            program, "--headless=new", *rootless, "--disable-gpu", "--no-first-run",
            "--disable-dev-shm-usage", "--disable-background-networking",
            "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND",
            "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank",
        ],
        env={**os.environ, "TMPDIR": short, "HOME": str(profile)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _address(process: subprocess.Popen[str]) -> str:
    """Return where the page listens, from what the browser says about itself."""
    import urllib.request

    assert process.stderr is not None
    for line in process.stderr:
        if "DevTools listening on ws://" in line:
            host = line.partition("ws://")[2].partition("/")[0]
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://{host}/json/list", timeout=LIMIT) as answer:
                pages = [each for each in json.load(answer) if each["type"] == "page"]
            # What it goes on to say is read away, lest it wait for a reader.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return str(pages[0]["webSocketDebuggerUrl"])
    raise AssertionError("the browser ended before it listened")
