"""`fmap report`: how large a page is, how long it takes to write, and how quick it is in a browser.

    python benchmarks/report.py [MODEL] [--runs 3]

Writing is compared with `fmap show` of the same layers, whole processes that take turns: by the clock, and by the
processor time that they use, which other work on the machine changes less; each the least of the runs. In headless
Chromium are measured: from opening the file to the first picture; from a key to the picture of another layer; a move of
the mouse over a map; and scrolling through 1000 channels of 56 × 56.

A browser hands a move to the page at the beginning of a frame and shows at its end what came of it. Waiting for the
next frame (up to 16.7 ms at 60 a second) is no work of the page's, so what is measured is the work: from the handler to
the moment at which the frame's picture is handed over, in the page's clock; and, of real moves of the mouse, all that
the page's thread does. Less than 16 ms is within the frame.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from playwright.sync_api import sync_playwright
from torch import nn

import fmap_cli as fmap

IMAGE = Path(__file__).parent.parent / "sample_images" / "chelsea.png"


def seconds(command: list[str]) -> tuple[float, float]:
    """How long a process takes by the clock, and how much of the processors' time."""
    used, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "fmap_cli", *command], check=True, capture_output=True)
    wall, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def writing(model: str, runs: int, folder: Path) -> Path:
    out = folder / "page.html"
    report = ["report", str(IMAGE), "--model", model, "--weights", "random", "-o", str(out)]
    seconds(report)  # compiles, once in an installation
    session = fmap.load_model(model, weights="random", say=lambda _: None)
    layers = [each.layer.name for each in fmap.report(session, IMAGE, say=lambda _: None).layers]
    named = [part for name in layers for part in ("--layer", name)]
    show = ["show", str(IMAGE), "--model", model, "--weights", "random", *named, "--out-dir", str(folder)]
    pairs = [(seconds(report), seconds(show)) for _ in range(runs)]
    print(f"{model}: {len(layers)} layers, {out.stat().st_size / 1e6:.2f} MB; load {os.getloadavg()[0]:.1f}")
    for at, words in enumerate(("by the clock", "of the processors")):
        one, other = (min(each[at] for each in side) for side in zip(*pairs, strict=True))
        print(f"written in {one:.2f} s {words}, fmap show in {other:.2f} s: {one / other:.2f} times as long")
    return out


# In the page, what a key or a move leads to is measured to the end of the frame after it.
LAYER = """async (key) => {
  const name = document.getElementById("layer-name").textContent;
  const canvas = document.querySelector(".panes");
  const start = performance.now();
  const seen = new Promise((done) => {
    new MutationObserver((_, own) => { own.disconnect(); done(); }).observe(canvas, { childList: true });
  });
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  await seen;
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
  return performance.now() - start;
}"""
HOVER = """async (count) => {
  const pane = [...document.querySelectorAll(".pane .stack")].at(-1);
  const box = pane.getBoundingClientRect();
  const times = [];
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  for (let at = 0; at < count; at++) {
    await frame();
    const clientX = box.left + box.width * ((at * 37) % 100) / 100;
    const clientY = box.top + box.height * ((at * 61) % 100) / 100;
    const start = performance.now();
    pane.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, bubbles: true }));
    const handled = performance.now() - start;
    const drawn = frame();
    await drawn;
    const called = performance.now();
    await new Promise((done) => {
      const channel = new MessageChannel(); // a task right after this frame's picture
      channel.port1.onmessage = done;
      channel.port2.postMessage(0);
    });
    times.push(handled + performance.now() - called);
  }
  return times;
}"""
SCROLL = """async (count) => {
  const box = document.getElementById("tiles");
  const times = [];
  for (let at = 0; at < count; at++) {
    box.scrollTop += 120;
    const start = performance.now();
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    times.push(performance.now() - start);
  }
  return times;
}"""


def browsing(file: Path, words: str) -> None:
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        start = time.perf_counter()
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        print(f"{words}: first picture after {time.perf_counter() - start:.2f} s")
        own = page.evaluate("performance.now()")
        print(f"  by the page's own clock {own / 1000:.2f} s")
        switches = [page.evaluate(LAYER, key) for key in ("ArrowDown", "ArrowUp") * 3]
        print(f"  another layer: median {statistics.median(switches):.0f} ms, longest {max(switches):.0f} ms")
        hovers = page.evaluate(HOVER, 60)
        print(f"  a move over a map, work: median {statistics.median(hovers):.1f} ms, longest {max(hovers):.1f} ms")
        print(f"  real moves, all of the page's thread: {moving(page):.1f} ms each")
        scrolls = page.evaluate(SCROLL, 60)
        print(f"  scrolling, two frames: median {statistics.median(scrolls):.1f} ms, longest {max(scrolls):.1f} ms")
        browser.close()


def moving(page: Any, count: int = 60) -> float:
    """Milliseconds of the page's main thread for each real move of the mouse over the largest map."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def busy() -> float:
        found = session.send("Performance.getMetrics")["metrics"]
        return float(next(each["value"] for each in found if each["name"] == "TaskDuration"))

    box = page.locator(".pane .stack").last.bounding_box()
    start = busy()
    for at in range(count):
        page.mouse.move(
            box["x"] + box["width"] * (at * 37 % 100) / 100, box["y"] + box["height"] * (at * 61 % 100) / 100
        )
        page.wait_for_timeout(20)
    return 1000 * (busy() - start) / count


def thousand() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 1000, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", default="resnet50")
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        browsing(writing(asked.model, asked.runs, Path(name)), asked.model)
        wide = fmap.load_model(thousand(), size=56, say=lambda _: None)
        file = fmap.report(wide, IMAGE, say=lambda _: None).save(Path(name) / "wide.html")
        browsing(file, "1000 channels of 56 × 56")


if __name__ == "__main__":
    main()
