"""Is an embedding any good? Tasks, probes, metrics and peers, under the published protocols."""
