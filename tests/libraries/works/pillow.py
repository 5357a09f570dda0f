"""Pillow: codecs and filters, reading from and writing to files of Python's."""

import hashlib
import io

from hosts import pause
from PIL import Image, ImageDraw, ImageFilter

DISTRIBUTION = "Pillow"


def _image(size):
    image = Image.linear_gradient("L").resize((size, size)).convert("RGB")
    draw = ImageDraw.Draw(image)
    for n in range(0, size, 5):
        draw.ellipse((n, n, n + size // 4, n + size // 3), outline=(n % 256, 90, 200))
    draw.text((5, 5), "copool", fill="white")
    return image


def _digest(image):
    return hashlib.sha256(image.tobytes()).hexdigest()


def small():
    return _digest(_image(40))


def heavy():
    image = _image(600)
    found = []
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF"):
        file = io.BytesIO()
        image.save(file, kind)
        found.append(_digest(Image.open(io.BytesIO(file.getvalue())).convert("RGB")))
    blurred = image.filter(ImageFilter.GaussianBlur(4)).rotate(
        33, Image.Resampling.BICUBIC
    )
    return [*found, _digest(blurred), image.quantize(16).getcolors()]


class _File(io.BytesIO):
    def read(self, *size):
        pause()
        return super().read(*size)

    def write(self, data):
        pause()
        return super().write(data)


def callback(number):
    written = _File()
    _image(60 + number).save(written, "PNG")
    read = Image.open(_File(written.getvalue()))
    points = Image.new("L", (4, 4), number).point(lambda value: pause() or value * 2)
    return [_digest(read), list(points.tobytes())]


def exception():
    file = io.BytesIO()
    _image(60).save(file, "PNG")
    Image.open(io.BytesIO(file.getvalue()[:300])).load()
