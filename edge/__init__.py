"""Reads personal QR codes at doors and gates, keeps the scans safe, and stores them centrally."""

__version__ = "0.1.0"
