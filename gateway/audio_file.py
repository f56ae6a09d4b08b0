"""Reads whatever audio file a person brings, as the telephone would carry it.

WAV is read as it is; anything else through pydub, which needs ffmpeg for compressed formats.
"""

from pathlib import Path

from pydub import AudioSegment
from pydub.exceptions import CouldntDecodeError

from media.resample import resample_whole


class AudioUnreadable(Exception):
    """The file is no audio we can read; the message says what to do about it."""


def read_speech(path: Path, rate: int = 8_000) -> bytes:
    """Return the file's audio as mono PCM16 at `rate`.

    Raises:
        AudioUnreadable: missing, not audio, or a format that needs ffmpeg and there is none.
    """
    try:
        # Opened here: pydub leaves a path's file open.
        with path.open("rb") as file:
            # Told so, WAV is read without ffmpeg.
            sound = AudioSegment.from_file(file, format="wav" if path.suffix.lower() == ".wav" else None)
    except FileNotFoundError as error:
        if path.exists():
            raise AudioUnreadable(f"{path}: without ffmpeg only WAV can be read; install ffmpeg") from error
        raise AudioUnreadable(f"{path} is not there") from error
    except (CouldntDecodeError, IndexError, OSError, EOFError) as error:
        raise AudioUnreadable(f"{path} is not audio that can be read") from error
    mono = sound.set_channels(1).set_sample_width(2)
    pcm = bytes(mono.raw_data)
    return pcm if mono.frame_rate == rate else resample_whole(pcm, mono.frame_rate, rate)
