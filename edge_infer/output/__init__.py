"""A diagnosis for people and programs: in words, as text, as a page, as a picture."""
