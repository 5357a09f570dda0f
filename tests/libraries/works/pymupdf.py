"""PyMuPDF: MuPDF's interpreter, which leaves calls with longjmp."""

import hashlib

import pymupdf

DISTRIBUTION = "PyMuPDF"


def _document(pages):
    document = pymupdf.open()
    for number in range(pages):
        page = document.new_page()
        page.insert_text((72, 72), f"page {number} of copool")
        page.draw_circle((200, 200), 20 + number, color=(1, 0, 0), fill=(0, 1, 0))
        page.insert_htmlbox(
            (72, 300, 400, 500), "<b>bold</b> " + "<i>word</i> " * number
        )
    return document


def small():
    return _document(1)[0].get_text()


def heavy():
    data = _document(25).tobytes(deflate=True, garbage=3)
    document = pymupdf.open(stream=data)
    drawn = [page.get_pixmap(dpi=60).samples for page in document]
    return [
        [hashlib.sha256(samples).hexdigest() for samples in drawn],
        "".join(page.get_text("html") for page in document)[:2000],
        len(document[3].search_for("copool")),
        len(document[0].get_drawings()),
    ]


def exception():
    pymupdf.open(stream=b"no document", filetype="pdf")[0].get_text()
