"""The two encodings in which clients report times: of latencies, and of latencies by interval."""
