"""The two encodings in which clients report latencies: a histogram, and one per interval."""
