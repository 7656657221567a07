"""Callers that are at work at the same time: one file for each way to be concurrent."""
