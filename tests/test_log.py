"""Tests of the log: one short JSON line per record, and no user text in it."""
