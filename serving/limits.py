"""What the server accepts from anyone: the limits of a request, of all requests together, and of what is kept."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds on work and memory. What lies beyond them is refused with the status in brackets."""

    connections: int = 512  # at once; beyond, the one that waits longest is closed (503 if none waits)
    connections_per_client: int = 256  # of one address at once, likewise (429)
    head_seconds: float = 5.0  # for a request's head after the connection or the last answer (408)
    stall_seconds: float = 20.0  # in which a client must read at `least_rate`, or its connection is dropped
    unsent_bytes: int = 256 << 20  # of all answers that wait for their clients to read; the largest is dropped
    body_bytes: int = 32 << 20  # of one request (413)
    buffered_bytes: int = 256 << 20  # of all bodies in memory at once (503)
    requests: int = 64  # taken at once (503)
    requests_per_client: int = 32  # of one address at once (429)
    grace_seconds: float = 1.2  # after which a body must have come at `least_rate` on average (408)
    least_rate: float = 4096.0  # bytes per second
    body_seconds: float = 60.0  # for the whole body (408)
    photo_pixels: int = 50_000_000  # of one photo, by its header (413)
    photo_bytes: int = 512 << 20  # that decoding one photo takes, by its header (413)
    json_values: int = 100_000  # of one request (413)
    images: int = 32  # of one request (413)
    faces: int = 32  # of one request (413)
    waiting_crops: int = 256  # before the network (503)
    mat_bytes: int = 32 << 20  # of one .mat file after decompression (413)
    kept_results: int = 64  # whose links still work
    kept_bytes: int = 128 << 20  # of photos and maps behind those links
    kept_seconds: float = 600.0  # after which they are forgotten
    runs: int = 32  # on the progress page
    run_points: int = 4000  # of one run; longer ones are thinned
    run_bytes: int = 1_000_000  # of one run in memory, and of all together in an answer; likewise
    event_bytes: int = 64 << 10  # of one event (413)
