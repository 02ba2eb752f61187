"""Configuration of training (``train``) and of preparing data (``prepare``), with its digest (``recipe``)."""
