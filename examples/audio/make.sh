#!/usr/bin/env bash
# Speaks every line of texts.yaml into a WAV file of telephone audio (8 kHz, mono, 16 bit) beside it.
# Needs espeak-ng and sox. The same versions of both give the same bytes.
set -euo pipefail
cd "$(dirname "$0")"

say() { # file, text: two voices, so that an ear and a test tell caller from agent
    case $1 in
        caller-*) set -- "$@" en-gb+m3 165 45 ;;
        agent-*) set -- "$@" en-us+f3 160 55 ;;
        *) echo "$1: neither caller-* nor agent-*" >&2 && return 1 ;;
    esac
    # The telephone band, the level a trunk carries (about -20 dBFS active speech), 50 ms of quiet around.
    espeak-ng -v "$3" -s "$4" -p "$5" --stdout "$2" |
        sox -R -V1 -t wav --ignore-length - -r 8000 -b 16 -c 1 -D "$1.wav" \
            silence 1 0.005 0.5% reverse silence 1 0.005 0.5% reverse \
            highpass 200 rate -v 8000 norm -6 pad 0.05 0.05
    echo "$1.wav $(soxi -d "$1.wav")"
}

sed -n 's/^\([a-z-]*\): "\(.*\)"$/\1\t\2/p' texts.yaml | while IFS=$'\t' read -r file text; do
    say "$file" "$text" </dev/null
done
