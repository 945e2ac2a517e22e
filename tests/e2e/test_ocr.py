"""The OCR example reads the three real pages as well as it promises, in order, and the same way each time. TFCC runs the models."""

import concurrent.futures

import ocr_local
import pytest


@pytest.fixture(scope="session")
def pages():
    return {name: path.read_bytes() for name, path in ocr_local.prepare().items()}


@pytest.fixture(scope="session")
def reader(pages):
    from reader.pipeline import Reader

    with_models = Reader()
    yield with_models
    with_models.close()


@pytest.fixture(scope="session")
def answers(reader, pages):
    return {name: reader.read_bytes(data) for name, data in pages.items()}


def texts(answer):
    return [line["text"] for line in answer["lines"]]


@pytest.mark.parametrize("name, least", [("linn.png", 0.99), ("imageTextN.png", 0.99), ("page.png", 0.97)])
def test_accuracy(answers, name, least):
    from score import score

    assert score(ocr_local.true_lines(name), texts(answers[name])) >= least


@pytest.mark.parametrize("name", ["linn.png", "imageTextN.png", "page.png"])
def test_reading_order(answers, name):
    """The lines come in the order of the true text, which takes linn's left column before its right one."""
    from score import edits, norm

    truth = [norm(line) for line in ocr_local.true_lines(name)]
    places = []
    for text in map(norm, texts(answers[name])):
        nearest = min(range(len(truth)), key=lambda i: edits(truth[i], text))
        if edits(truth[nearest], text) <= 0.2 * len(text):
            places.append(nearest)
    assert len(places) >= 0.9 * len(truth)
    assert places == sorted(places)


def test_answer(answers):
    answer = answers["imageTextN.png"]
    assert (answer["width"], answer["height"]) == (556, 257)
    assert answer["inferences"] == {"det": 1, "cls": 1, "rec": 13}
    assert set(answer["time_ms"]) == {"decode", "detect", "direct", "recognise", "total"}
    for line in answer["lines"]:
        assert line["text"] and 0.5 <= line["score"] <= 1
        left_top, right_top, right_bottom, left_bottom = line["box"]
        assert left_top[0] < right_top[0] and left_top[1] < left_bottom[1]
        assert all(0 <= x < 556 and 0 <= y < 257 for x, y in (left_top, right_top, right_bottom, left_bottom))


def test_same_image_same_lines(reader, pages, answers):
    """Whatever else is being read at the time."""
    names = ["page.png", "imageTextN.png"] * 3
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: reader.read_bytes(pages[name]), names))
    for name, answer in zip(names, found):
        assert answer["lines"] == answers[name]["lines"]
        assert answer["inferences"] == answers[name]["inferences"]


def test_single_lines(reader, pages):
    """Each line cut out for traffic is read as one line, right but for a few letters."""
    import get_images
    from score import score

    crops = get_images.line_crops(ocr_local.PAGES)
    assert len(crops) == 20
    for path, truth in crops:
        answer = reader.read_bytes(path.read_bytes())
        assert len(answer["lines"]) == 1, path.name
        assert score([truth], texts(answer)) >= 0.9, path.name


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned_page(reader, pages, answers, quarters):
    """A page that lies on its side or stands on its head is read too, in the order of its text."""
    import cv2
    from reader.image import decode
    from score import score

    turn = {1: cv2.ROTATE_90_CLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_COUNTERCLOCKWISE}[quarters]
    answer = reader.read(cv2.rotate(decode(pages["imageTextN.png"]), turn))
    assert score(ocr_local.true_lines("imageTextN.png"), texts(answer)) >= 0.98
    assert texts(answer)[0].startswith("technical details")
    assert texts(answer)[-1].startswith("inspiration from")


def test_nothing_to_read(reader):
    import numpy as np

    for shape in ((1, 1), (1, 3000), (40, 40), (600, 800)):
        answer = reader.read(np.full((*shape, 3), 255, np.uint8))
        assert answer["lines"] == []
        assert answer["inferences"] == {"det": 1, "cls": 0, "rec": 0}


def test_long_line(reader, pages):
    """A line too long for one run is read in pieces that are cut between words."""
    import cv2
    import numpy as np
    from reader.image import decode

    page = decode(pages["imageTextN.png"])
    blank = np.full((16, 12, 3), 255, np.uint8)
    strip = cv2.hconcat([part for i in (74, 111, 147) for part in (page[i : i + 16, 30:529], blank)])
    assert strip.shape[1] > 1500
    text, score, runs = reader._recogniser.read(strip)
    assert runs == 2
    assert "real-world images" in text and "conference papers" in text and "Wherever possible" in text
    assert score > 0.9


def test_models_that_do_not_fit(pages):
    """A recognition model whose characters are unknown is refused when it is loaded, with words."""
    from astra import tfcc
    from reader.recognition import Recogniser

    with pytest.raises(ValueError, match="character"):
        Recogniser(tfcc.Model("cls"))
