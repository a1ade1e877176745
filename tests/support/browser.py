"""A real Chromium without a window, driven over its DevTools protocol: pages, keys, screenshots."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CODES = {"Enter": 13, "Tab": 9, "Backspace": 8, "Escape": 27, " ": 32, "ArrowDown": 40}


class Browser:
    """One page of a browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self.call("Page.enable")
        self.call("Runtime.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """What a command of the protocol returns."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            found = json.loads(self._socket.recv())
            if found.get("id") == number:
                assert "error" not in found, found
                return found["result"]

    def screen(self, width: int, height: int, *, dark: bool = False) -> None:
        """Have the page shown on a screen of this size."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)

    def open(self, address: str) -> None:
        """Go to a page, and wait until it is there."""
        self.run("window.leaving = true")
        self.call("Page.navigate", url=address)
        self.until("!window.leaving && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression on the page; None while the page changes."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression is true, however slow the machine is."""
        while not self.run(script):
            time.sleep(0.01)

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key and let it go."""
        common = {"key": key, "windowsVirtualKeyCode": CODES.get(key, ord(key[0].upper()))}
        common |= {"modifiers": 8} if shift else {}
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def write(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        """Save what the screen shows."""
        found = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """A browser whose profile lies in the folder, without the network but loopback."""
    assert PROGRAM is not None
    command = [PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += ["--remote-debugging-port=0", f"--user-data-dir={folder}", "--disable-background-networking"]
    command += ["--lang=en", "--accept-lang=en", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ready = folder / "DevToolsActivePort"
        while not (ready.exists() and ready.read_text().count("\n")):
            assert process.poll() is None, "the browser ended"
            time.sleep(0.05)
        port = ready.read_text().split("\n")[0]
        with urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            (page, *_) = [each for each in json.load(answer) if each["type"] == "page"]
        with connect(page["webSocketDebuggerUrl"], max_size=None) as socket:
            yield Browser(socket)
    finally:
        process.kill()
        process.wait()
