"""Pictures of many sizes, in all forms that are taken: the same for everybody who asks."""

import io
import random

import numpy
from PIL import Image, ImageCms, ImageFile

# Of small pictures the heads alone are larger than what is usual.
ImageFile.MAXBLOCK = 2**20
chosen = random.Random(31)
drawn = numpy.random.default_rng(31)


def drawing(width: int, height: int) -> Image.Image:
    """A slope of colors, with noise on it and a box in it."""
    across, down = numpy.meshgrid(numpy.linspace(0, 1, width), numpy.linspace(0, 1, height))
    slope = numpy.stack([across * 255, down * 255, (1 - across) * 128 + down * 127], axis=2)
    noise = drawn.normal(scale=chosen.choice([0, 8, 60]), size=slope.shape)
    colors = numpy.clip(slope + noise, 0, 255).astype(numpy.uint8)
    top, left = chosen.randrange(height), chosen.randrange(width)
    colors[top : top + height // 3 + 1, left : left + width // 3 + 1] = [chosen.randrange(256) for _ in range(3)]
    return Image.fromarray(colors)


def saved(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def turned(image: Image.Image, orientation: int, form: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(image, form, exif=exif)


def pictures() -> dict[str, bytes]:
    made: dict[str, bytes] = {}
    for number in range(150):
        image = drawing(chosen.choice([1, 2, 31, 32, 33, chosen.randrange(3, 700)]), chosen.choice([1, 3, 32, chosen.randrange(3, 500)]))
        form, options = chosen.choice(
            [
                ("JPEG", {"quality": chosen.randrange(20, 100)}),
                ("JPEG", {"quality": 90, "subsampling": chosen.randrange(3), "progressive": True}),
                ("PNG", {}),
                ("WEBP", {"quality": chosen.randrange(20, 100)}),
                ("WEBP", {"lossless": True}),
            ]
        )
        made[f"{number} {image.size} {form} {options}"] = saved(image, form, **options)
    for orientation in range(1, 9):
        for form in ("JPEG", "PNG", "WEBP"):
            made[f"turned {orientation} {form}"] = turned(drawing(300, 170), orientation, form)
    for number in range(4):
        image = drawing(200 + number, 100)
        clear = image.copy()
        clear.putalpha(Image.fromarray(drawn.integers(0, 256, (100, 200 + number)).astype(numpy.uint8)))
        for form in ("PNG", "WEBP"):
            made[f"transparent {number} {form}"] = saved(clear, form, **({"lossless": True, "exact": True} if form == "WEBP" else {}))
        for mode, form in [("L", "JPEG"), ("L", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("1", "PNG"), ("L", "WEBP")]:
            made[f"{mode} {number} {form}"] = saved((clear if mode == "LA" else image).convert(mode), form)
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        made[f"profile {number}"] = saved(image, "JPEG", icc_profile=profile)
    return made
