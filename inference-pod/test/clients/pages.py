"""
Draws pages of words, upright and turned, in PNG and JPEG of several kinds, and tells what stands on them: a folder to draw into.
"""

import json
import pathlib
import random
import sys

from PIL import Image, ImageDraw, ImageFont

folder = pathlib.Path(sys.argv[1])
chosen = random.Random(7)
words = (
    "Harbour ledger Monday ships cargo invoice Total amount paid delivery Street number received copper timber barrels weight "
    "Captain signed before noon storage cellar north south window Garden orange paper Winter market bridge silver candle "
    "machine pressure valve Report energy second quarter customs license permit renewed journey return ticket platform"
).split(" ")


def text() -> str:
    made = [chosen.choice(words) for _ in range(chosen.randint(1, 4))]
    if chosen.random() < 0.4:
        made.append(f"{chosen.randint(10, 99_999)}")
    return " ".join(made)


def page(number: int, turn: int) -> dict:
    dark = tuple(chosen.randint(0, 90) for _ in range(3))
    light = tuple(chosen.randint(190, 255) for _ in range(3))
    image = Image.new("RGB", (chosen.randint(620, 1100), chosen.randint(420, 900)), light)
    draw = ImageDraw.Draw(image)
    lines, top = [], 30
    while len(lines) < 8 and top < image.height - 90:
        font = ImageFont.load_default(chosen.randint(24, 44))
        line = text()
        if draw.textlength(line, font) < image.width - 80:
            draw.text((chosen.randint(20, 50), top), line, dark, font)
            lines.append(line)
        top += int(font.size * chosen.uniform(1.7, 2.4))
    image = image.rotate(turn, expand=True)
    form = ["png", "jpeg", "grey", "palette", "alpha"][number % 5]
    if form == "grey":
        image = image.convert("L")
    if form == "palette":
        image = image.quantize(64)
    if form == "alpha":
        image.putalpha(255)
    name = f"{number}.{'jpg' if form == 'jpeg' else 'png'}"
    image.save(folder / name, **({"quality": 90} if form == "jpeg" else {}))
    return {"name": name, "turn": turn, "lines": lines if turn == 0 else lines[::-1]}


print(json.dumps([page(number, 180 if number % 3 == 2 else 0) for number in range(10)]))
