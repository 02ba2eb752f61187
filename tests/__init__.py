"""Tests of the five rooms; each folder tests the room it is named after."""
