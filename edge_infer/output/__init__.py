"""Sinks: a diagnosis for people and programs, in words, as text, as a page, as pictures; `sink` has their protocol."""
