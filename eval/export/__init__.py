"""Results in the forms that other programs read: tables, Every Eval Ever, the Hugging Face Hub, inspect.

Contract: :func:`export_files` checks the results and says which files a form has; each is written when it is asked to,
whole or not at all. A run folder is only read.
"""

from eval.export.files import ExportFile, ExportOptions, export_files, export_table

__all__ = ["ExportFile", "ExportOptions", "export_files", "export_table"]
