"""Reads printed text out of an image: find lines, turn them upright, recognise characters, put them in reading order.

One module is one step, and each step but the last is plain image work on numpy arrays; models are reached only through TFCC,
Astra's runtime, by the names that app.yaml gives them. Nothing in this package knows of Ray: ocr.py serves it.
"""
