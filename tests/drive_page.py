"""What the tests of the results page do with it in a browser."""

import json
from urllib.parse import quote

import pytest

expect = pytest.importorskip("playwright.sync_api").expect


def visit(page, address, **choices):
    """Open the page at some choices, or let it go there where it is open already, and wait until it is drawn."""
    chosen = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in choices.items())
    page.goto(f"{address}#{chosen}")
    shown(page)


def shown(page):
    """Wait until what the address asks for stands there."""
    expect(page.locator("body")).to_have_attribute("data-shown", page.evaluate("location.hash || '#'"))


def reload(page):
    page.reload()
    shown(page)


def cell(page, *where):
    """A cell of a map: (activation, init, layers)."""
    return page.locator(f".map button[data-cell='{json.dumps(where, separators=(',', ':'))}']")


def faint_texts(page, least=4.5):
    """The texts that stand out from their ground by less than a contrast of 4.5 (WCAG 2), with that contrast."""
    return page.evaluate(FAINT, least)


# The ground of a text: the nearest ancestor's colour, or each colour of its gradient. What is disabled may be faint.
FAINT = """(least) => {
    const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const known = new Map();
    const rgba = (text) => {
        if (!known.has(text)) {
            pen.clearRect(0, 0, 1, 1);
            pen.fillStyle = text;
            pen.fillRect(0, 0, 1, 1);
            known.set(text, [...pen.getImageData(0, 0, 1, 1).data]);
        }
        return known.get(text);
    };
    const light = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const over = (top, below) => [0, 1, 2].map((i) => (top[i] * top[3] + below[i] * (255 - top[3])) / 255);
    const grounds = (element) => {
        if (!element) return [matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0] : [255, 255, 255]];
        const { backgroundColor, backgroundImage } = getComputedStyle(element);
        const colours = (backgroundImage.match(/(rgba?|color|oklab|lab)\\([^()]*\\)/g) ?? []).map(rgba);
        const own = colours.length ? colours : [rgba(backgroundColor)];
        if (own.every((colour) => colour[3] === 255)) return own.map((colour) => colour.slice(0, 3));
        const below = grounds(element.parentElement);
        return own.flatMap((colour) => below.map((one) => over(colour, one)));
    };
    const faint = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        const text = walker.currentNode.textContent.trim();
        if (!text || !element.checkVisibility() || element.closest(":disabled, noscript, option, title")) continue;
        const style = getComputedStyle(element);
        let ink = rgba(element.ownerSVGElement ? style.fill : style.color);
        let share = element.ownerSVGElement ? style.fillOpacity : 1;
        for (let one = element; one; one = one.parentElement) share *= getComputedStyle(one).opacity;
        ink = [...ink.slice(0, 3), ink[3] * share];
        const worst = Math.min(...grounds(element).map((ground) => {
            const [a, b] = [light(over(ink, ground)), light(ground)];
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        }));
        const what = `${element.tagName}.${element.className}`;
        if (worst < least) faint.push(`${worst.toFixed(2)} ${what} ${text.slice(0, 40)}`);
    }
    return [...new Set(faint)];
}"""
