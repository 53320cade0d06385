"""Tests of the runner: names resolved, chains and parallel branches run."""
