"""Data files: recipes (``*.yaml``), cluster descriptions (``clusters``) and configurations of known models
(``shapes``).
"""
