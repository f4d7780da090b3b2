"""How large a picture is, from its header alone."""

from pathlib import Path


def oversized(path: Path, most: int) -> str | None:
    """What to say of a picture with more than `most` pixels; None of one with fewer, and of what is no picture."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            width, height = picture.size
    except Image.DecompressionBombError:
        return f"the picture has more than {most:,} pixels"
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return None
    if width * height > most:
        return f"the picture has {width} by {height} pixels, this server takes {most:,} at most"
    return None
