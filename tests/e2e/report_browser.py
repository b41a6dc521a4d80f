#!/usr/bin/env python3
"""Opens report.html of the sample run in a headless Chromium, from disk: all charts must draw, no
error may reach the console, no hostile name may become markup, and nothing may be asked of a network."""
import html.parser
import os
import re
import shutil
import subprocess
import sys
import tempfile

SKIP = 77
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--enable-logging=stderr", "--virtual-time-budget=5000"]


class Page(html.parser.HTMLParser):
    """What the browser made of the file: attributes of <html>, canvases, things that load."""

    def __init__(self):
        super().__init__()
        self.root, self.canvases, self.loads, self.title, self.in_title = {}, 0, [], "", False

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "html":
            self.root = attrs
        self.canvases += tag == "canvas"
        self.in_title = tag == "title"
        for name in ("src", "href", "srcset", "data"):
            if attrs.get(name) and not attrs[name].startswith("#"):
                self.loads.append(f"{tag} {name}={attrs[name]}")

    def handle_endtag(self, tag):
        self.in_title = False

    def handle_data(self, data):
        if self.in_title:
            self.title += data


def browse(browser, path, width, extra=()):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        done = subprocess.run([browser, *FLAGS, *extra, f"--user-data-dir={profile}",
                               f"--window-size={width},900", "--dump-dom", "file://" + path],
                              capture_output=True, timeout=120, check=False)
    console = [line for line in done.stderr.decode(errors="replace").splitlines()
               if ":CONSOLE" in line]
    page = Page()
    page.feed(done.stdout.decode(errors="replace"))
    return page, console


def check(what, page, console):
    assert page.root.get("data-ready") == "5", f"{what}: charts drawn: {page.root}"
    assert "data-error" not in page.root, f"{what}: {page.root['data-error']}"
    assert not console, f"{what}: console: {console}"
    # dygraphs draws each of its four charts on two canvases, the heatmap has one
    assert page.canvases >= 9, f"{what}: {page.canvases} canvases"
    assert not page.loads, f"{what}: asks for {page.loads}"
    assert page.title == "Fail: the shop survives a killed replica", f"{what}: title {page.title}"


def main():
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if not browser:
        print("skipped: there is no chromium here (apt-get install chromium)")
        return SKIP
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([sys.argv[1], out], check=True, stdout=subprocess.DEVNULL)
        path = os.path.join(out, "report.html")
        with open(path, encoding="utf-8") as f:
            text = f.read()
        # The licence's address is a comment of dygraphs; nothing else may name a place on the net.
        for address in re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s\"'<)]*", text):
            assert "danvk/dygraphs" in address or "w3.org" in address, address
        check("light", *browse(browser, path, 1280))
        check("dark, narrow", *browse(browser, path, 500, ["--blink-settings=preferredColorScheme=0"]))
        # The test must be able to fail: a broken script is seen.
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace("drawAll();", "noSuchThing();"))
        page, _ = browse(browser, path, 1280)
        assert "data-error" in page.root, "a broken script was not noticed"
    print("ok")
    return 0


sys.exit(main())
