"""How large a picture is, from its header alone."""

from pathlib import Path


def oversized(path: Path, most: int) -> str | None:
    """What to say of a picture with more than `most` pixels; None of one with fewer, and of what is no picture."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            width, height = picture.size
    except Image.DecompressionBombError:
        return f"the picture has more than {most:,} pixels, which is what this server takes at most"
    except Exception:  # Pillow's readers raise whatever comes to them on bytes they do not expect
        return None
    if width * height > most:
        return f"the picture has {width} by {height} pixels, this server takes {most:,} at most"
    return None
