"""Modules that several test files import."""
