"""Photographs every page of the site in Chromium, wide and narrow, light and dark.

`make look` builds the site and calls `python docs/look.py SITE FOLDER [PAGE ...]`. The pictures are to be looked at.
What can be told without looking is printed: a page that is wider than its window, code and tables that have to be
scrolled sideways in a wide one, a name broken inside a word, and what a search for `lr_mult` finds.
"""

import base64
import functools
import http.server
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = {"wide": 1400, "narrow": 390}
HIGHEST = 8000
MEASURE = """(() => {
  const cut = (selector) => [...document.querySelectorAll(selector)].filter((e) => e.scrollWidth > e.clientWidth + 1);
  const broken = [...document.querySelectorAll("article :not(pre) > code, article h3, article h4")].filter(
    (e) => e.getClientRects().length > 1 && !/\\s/.test(e.textContent.trim()) && e.textContent.length <= 40);
  const told = (name, found) => found.map((e) => `${name}: ${e.textContent.trim().slice(0, 60).replace(/\\s+/g, " ")}`);
  const wide = document.documentElement.scrollWidth > innerWidth ? ["the page is wider than the window"] : [];
  return innerWidth < 1000 ? [...wide, ...told("broken", broken)]
    : [...wide, ...told("broken", broken), ...told("cut", cut("article pre > code, article .md-typeset__scrollwrap"))];
})()"""
SEARCH = """new Promise((found) => {
  const look = () => {
    const results = [...document.querySelectorAll(".md-search-result__article h1, .md-search-result__article h2")];
    results.length ? found(results.map((e) => e.textContent)) : setTimeout(look, 100);
  };
  look();
})"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing of it."""

    def log_message(self, *_):
        """Say nothing."""


class Browser:
    """One page of a headless Chromium, spoken to through pipes, in the DevTools protocol."""

    def __init__(self, program: str, profile: str) -> None:
        (theirs, ours), (self._from, to) = os.pipe(), os.pipe()
        shell = f'exec "$0" --headless --no-sandbox --remote-debugging-pipe --user-data-dir="$1" 3<&{theirs} 4>&{to}'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, program, profile], pass_fds=(theirs, to), stderr=subprocess.DEVNULL
        )
        os.close(theirs), os.close(to)
        self._to, self._read, self._number, self._session = ours, b"", 0, {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}

    def call(self, method: str, **parameters: object) -> dict:
        """Return what the browser answers to a command."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._read:
                part = os.read(self._from, 1 << 20)
                if not part:
                    sys.exit("the browser has ended")
                self._read += part
            answer, _, self._read = self._read.partition(b"\0")
            answer = json.loads(answer)
            if answer.get("id") == self._number:
                if "error" in answer:
                    sys.exit(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def evaluate(self, expression: str) -> object:
        """Return the value of an expression in the page."""
        told = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return told["result"].get("value")

    def open(self, address: str, width: int, scheme: str) -> None:
        """Go to a page, and wait until it is there."""
        narrow = width < 1000
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=narrow)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=address)
        while self.evaluate(f"document.readyState == 'complete' && location.href == {json.dumps(address)}") is not True:
            time.sleep(0.05)
        time.sleep(0.1)

    def picture(self) -> bytes:
        """Return the page as a PNG, down to `HIGHEST`."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], HIGHEST), "scale": 1}
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"])


def main(site: Path, folder: Path, *only: Path) -> None:
    """Write the pictures of all pages, or of those named, and print what is wrong with them."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        sys.exit(f"none of {', '.join(BROWSERS)} is there: install Chromium")
    folder.mkdir(parents=True, exist_ok=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    pages = sorted(page.parent.relative_to(site).as_posix() for page in site.rglob("index.html"))
    pages = [page for page in pages if not only or Path(page) in only]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, profile)
        try:
            for page, (width, pixels), scheme in itertools.product(pages, WIDTHS.items(), ("light", "dark")):
                browser.open(f"{address}{page}/".replace("/./", "/"), pixels, scheme)
                name = f"{page.replace('/', '-').replace('.', 'index')}-{width}-{scheme}"
                (folder / f"{name}.png").write_bytes(browser.picture())
                if scheme == "light":
                    for told in browser.evaluate(MEASURE):
                        print(f"{name}: {told}")
            browser.open(f"{address}?q=lr_mult", WIDTHS["wide"], "light")
            print("the search finds lr_mult in", browser.evaluate(SEARCH))
            (folder / "search.png").write_bytes(browser.picture())
        finally:
            browser.process.terminate()
            browser.process.wait()
            server.shutdown()
    print(f"pictures of {len(pages)} pages are in {folder}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
