"""A real browser by the WebDriver protocol: Chromium and its driver, spoken to with plain HTTP."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Browser:
    """One session of a headless browser with an empty profile."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM and DRIVER
        self._driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
        try:
            self._base = f"http://127.0.0.1:{self._port()}"
            options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={profile}"]}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        except BaseException:
            self._driver.kill()
            raise
        self._session = f"/session/{answer['sessionId']}"

    def _port(self) -> int:
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            if "started successfully on port" in line:
                return int(line.rstrip(".\n").rsplit(" ", 1)[1])
        raise RuntimeError("chromedriver ended before it was ready")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from error

    def _devtools(self, command: str, **parameters: Any) -> Any:
        return self._call("POST", f"{self._session}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def look(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Set the window's size in CSS pixels and the colour scheme."""
        self._devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, page: Path) -> None:
        self.messages()
        self._call("POST", f"{self._session}/url", {"url": page.as_uri()})

    def script(self, source: str, *arguments: Any) -> Any:
        """Run JavaScript in the page and return what it returns."""
        body = {"script": source, "args": list(arguments)}
        return self._call("POST", f"{self._session}/execute/sync", body)

    def messages(self) -> list[str]:
        """What the console got since the last call."""
        return [entry["message"] for entry in self._call("POST", f"{self._session}/se/log", {"type": "browser"})]

    def click(self, selector: str) -> None:
        """Click as a user does: the element must be visible and not covered."""
        found = self._call("POST", f"{self._session}/element", {"using": "css selector", "value": selector})
        identity = next(iter(found.values()))
        self._call("POST", f"{self._session}/element/{identity}/click", {})

    def press(self, selector: str, *keys: str) -> None:
        """Send keys to an element that can have the focus."""
        found = self._call("POST", f"{self._session}/element", {"using": "css selector", "value": selector})
        identity = next(iter(found.values()))
        self._call("POST", f"{self._session}/element/{identity}/value", {"text": "".join(keys)})

    def picture(self, path: Path, *, height: int | None = None) -> None:
        """Keep a PNG of the page's top, or of its whole length."""
        tall = height or int(self.script("return document.documentElement.scrollHeight"))
        width = int(self.script("return innerWidth"))
        shot = self._devtools(
            "Page.captureScreenshot",
            captureBeyondViewport=True,
            clip={"x": 0, "y": 0, "width": width, "height": tall, "scale": 1},
        )
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        try:
            self._call("DELETE", self._session)
        finally:
            self._driver.terminate()
            self._driver.wait(60)
