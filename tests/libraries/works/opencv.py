"""opencv-python-headless: filters, contours and transforms on its threads."""

import cv2
import numpy as np

DISTRIBUTION = "opencv-python-headless"


def _image(size):
    rows, columns = np.mgrid[0:size, 0:size]
    return ((rows * 3 ^ columns * 5) % 256).astype(np.uint8)


def small():
    return cv2.GaussianBlur(_image(16), (3, 3), 1)


def heavy():
    image = _image(800)
    edges = cv2.Canny(image, 50, 150)
    contours, _ = cv2.findContours(edges, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    rotation = cv2.getRotationMatrix2D((400, 400), 30, 1.2)
    turned = cv2.warpAffine(image, rotation, (800, 800))
    _, encoded = cv2.imencode(".png", turned)
    spectrum = cv2.dft(image.astype(np.float64))
    found = cv2.ORB_create(100).detect(image, None)
    return [
        edges,
        len(contours),
        np.array_equal(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), turned),
        float(np.abs(spectrum).sum()),
        len(found),
        cv2.connectedComponents(edges)[0],
    ]


def exception():
    cv2.resize(_image(4), (0, 0))
