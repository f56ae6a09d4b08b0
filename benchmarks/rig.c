/* The two outer sides of a media gateway on one core: N carrier clients and the model server.
 *
 * Theory of operation
 * -------------------
 * One thread, one epoll set, one heap of timers. The carrier side dials the gateway N times and speaks Twilio's
 * media-stream wire as the carrier does (client, masked frames); the model side listens on /v1/realtime and
 * speaks OpenAI's Realtime wire as the model does. Whatever lies between the two is the server under test.
 * Both sides read the same clock, so a frame's way caller -> server -> model -> server -> caller needs no
 * second clock and no protocol of its own.
 *
 * Every call is paced from an absolute origin: frame k is due at origin + k * 20 ms, never 20 ms after the last
 * one. How late the rig itself was is reported, because a late rig measures itself.
 *
 * Profile "echo": the model answers every append at once with one delta of an endless response.
 *   pcmu    the audio must come back byte for byte: each frame carries a magic word, the call's index, its own
 *           number and a filler that both ends know. Lost, repeated, damaged and misdelivered frames are
 *           counted exactly, however the server cuts the byte stream into messages.
 *   pcm24k  the server transcodes, so bytes change. Frames are matched by their position in the stream (the
 *           n-th 20 ms that returns answers the n-th sent); rare tone bursts at unpredictable distances, found
 *           again in the returned audio, prove the position and correct it after a loss, and their displacement
 *           within the frame is the codec's own delay.
 * Profile "conversation": callers speak in turns of 2-6 s; the model hears the loudness (its voice activity
 *   detection), answers with 2-6 s of audio at 12 times real time in 100-200 ms deltas; a part of the answers is
 *   barged in. The carrier side plays in real time, echoes marks when played, empties its buffer on clear.
 *   A call tells its model session its number once, in loud and quiet 60 ms bits, so that both
 *   ledgers (played and truncated, sent and received) can be laid side by side.
 *
 * stdout carries JSON lines: {"phase":"listening"|"measuring"|"measured"} and at last {"report":{...}};
 * stderr one line of progress per second. Everything is bounded; the program ends by itself.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define FRAME 160             /* bytes of 20 ms of mu-law at 8 kHz */
#define FRAMES_PER_SECOND 50
#define RING 1024             /* frames whose sending time is remembered: 20 s */
#define MAX_CALLS 4096
#define MAX_MESSAGE (4 << 20) /* larger than anything either wire needs */
#define SYNC_AFTER 25         /* frames from the first echo to the first burst */

/* ------------------------------------------------------------------ options, clock, random, histogram */

static struct {
    const char *path;
    int carrier_port, model_port, calls;
    double seconds, warmup, ramp, barge;
    bool conversation, pcm, wait;
    uint64_t seed;
} options = {.path = "/media/twilio/bench", .calls = 10, .seconds = 10, .warmup = 2, .ramp = 50, .barge = 0.3, .seed = 1};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("rig: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

static uint64_t random_state;
static uint64_t random_bits(void) { /* xorshift64* */
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 2685821657736338717ull;
}
static double uniform(double low, double high) { return low + (high - low) * (double)(random_bits() >> 11) / 9007199254740992.0; }

/* Milliseconds in buckets of 10 us to 200 ms, of 1 ms to 20 s; beyond that, the last bucket. */
#define FINE 20000
#define COARSE 20000
struct histogram {
    uint32_t fine[FINE], coarse[COARSE];
    uint64_t count;
    double max;
};
static struct histogram echo_ms, setup_ms, reply_ms, barge_ms, reaction_ms, truncate_ms, late_ms, codec_ms;

static void record(struct histogram *h, double ms) {
    if (ms < 0) ms = 0;
    if (ms > h->max) h->max = ms;
    h->count++;
    if (ms < 200) h->fine[(int)(ms * 100)]++;
    else h->coarse[ms < COARSE - 1 ? (int)ms : COARSE - 1]++;
}

static double percentile(const struct histogram *h, double share) {
    uint64_t wanted = (uint64_t)ceil((double)h->count * share), seen = 0;
    if (!h->count) return 0;
    for (int i = 0; i < FINE; i++)
        if ((seen += h->fine[i]) >= wanted) return fmin((i + 1) / 100.0, h->max);
    for (int i = 0; i < COARSE; i++)
        if ((seen += h->coarse[i]) >= wanted) return fmin(i + 1, h->max);
    return h->max;
}

/* ------------------------------------------------------------------ base64, sha1, json */

static const char B64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static uint8_t unb64[256]; /* 64 = padding or invalid */

static size_t base64_encode(char *out, const uint8_t *in, size_t n) {
    char *start = out;
    for (; n >= 3; n -= 3, in += 3) {
        uint32_t v = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
        *out++ = B64[v >> 18], *out++ = B64[v >> 12 & 63], *out++ = B64[v >> 6 & 63], *out++ = B64[v & 63];
    }
    if (n) {
        uint32_t v = (uint32_t)in[0] << 16 | (n > 1 ? (uint32_t)in[1] << 8 : 0);
        *out++ = B64[v >> 18], *out++ = B64[v >> 12 & 63];
        *out++ = n > 1 ? B64[v >> 6 & 63] : '=', *out++ = '=';
    }
    return (size_t)(out - start);
}

static size_t base64_decode(uint8_t *out, const char *in, size_t n) {
    uint8_t *start = out;
    const uint8_t *p = (const uint8_t *)in;
    while (n && p[n - 1] == '=') n--;
    for (; n >= 4; n -= 4, p += 4) {
        uint32_t v = (uint32_t)unb64[p[0]] << 18 | (uint32_t)unb64[p[1]] << 12 | (uint32_t)unb64[p[2]] << 6 | unb64[p[3]];
        *out++ = (uint8_t)(v >> 16), *out++ = (uint8_t)(v >> 8), *out++ = (uint8_t)v;
    }
    if (n >= 2) *out++ = (uint8_t)(unb64[p[0]] << 2 | unb64[p[1]] >> 4);
    if (n == 3) *out++ = (uint8_t)(unb64[p[1]] << 4 | unb64[p[2]] >> 2);
    return (size_t)(out - start);
}

static uint32_t rotate(uint32_t x, int n) { return x << n | x >> (32 - n); }

/* SHA-1 of a short text (under 120 bytes): the handshake's Sec-WebSocket-Accept, RFC 6455 section 4.2.2. */
static void sha1(const char *text, size_t n, uint8_t digest[20]) {
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    uint8_t block[128] = {0};
    size_t blocks = n < 56 ? 1 : 2;
    memcpy(block, text, n);
    block[n] = 0x80;
    for (int i = 0; i < 4; i++) block[blocks * 64 - 1 - (size_t)i] = (uint8_t)(n * 8 >> (8 * i));
    for (size_t b = 0; b < blocks; b++) {
        uint32_t w[80], a = h[0], c1 = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 16; i++) {
            const uint8_t *q = block + b * 64 + i * 4;
            w[i] = (uint32_t)q[0] << 24 | (uint32_t)q[1] << 16 | (uint32_t)q[2] << 8 | q[3];
        }
        for (int i = 16; i < 80; i++) w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t f, k;
            if (i < 20) f = (c1 & c) | (~c1 & d), k = 0x5A827999;
            else if (i < 40) f = c1 ^ c ^ d, k = 0x6ED9EBA1;
            else if (i < 60) f = (c1 & c) | (c1 & d) | (c & d), k = 0x8F1BBCDC;
            else f = c1 ^ c ^ d, k = 0xCA62C1D6;
            uint32_t t = rotate(a, 5) + f + e + k + w[i];
            e = d, d = c, c = rotate(c1, 30), c1 = a, a = t;
        }
        h[0] += a, h[1] += c1, h[2] += c, h[3] += d, h[4] += e;
    }
    for (int i = 0; i < 20; i++) digest[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

struct span { const char *p, *end; };

static const char *skip_space(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) p++;
    return p;
}

/* p stands on the opening quote; returns the place after the closing one, or NULL. */
static const char *skip_string(const char *p, const char *end) {
    for (p++; p < end;) {
        const char *quote = memchr(p, '"', (size_t)(end - p));
        if (!quote) return NULL;
        const char *back = quote;
        while (back > p && back[-1] == '\\') back--;
        if (!((quote - back) & 1)) return quote + 1;
        p = quote + 1;
    }
    return NULL;
}

static const char *skip_value(const char *p, const char *end) {
    if (p >= end) return NULL;
    if (*p == '"') return skip_string(p, end);
    if (*p == '{' || *p == '[') {
        int depth = 0;
        while (p < end) {
            if (*p == '"') {
                if (!(p = skip_string(p, end))) return NULL;
                continue;
            }
            if (*p == '{' || *p == '[') depth++;
            else if ((*p == '}' || *p == ']') && --depth == 0) return p + 1;
            p++;
        }
        return NULL;
    }
    while (p < end && *p != ',' && *p != '}' && *p != ']') p++;
    return p;
}

/* The value of `key` in the object `object`, strings without their quotes, as they are written (escapes kept). */
static bool find(struct span object, const char *key, struct span *value) {
    size_t length = strlen(key);
    const char *p = skip_space(object.p, object.end), *end = object.end;
    if (p >= end || *p++ != '{') return false;
    for (;;) {
        p = skip_space(p, end);
        if (p >= end || *p != '"') return false;
        const char *name = p + 1;
        if (!(p = skip_string(p, end))) return false;
        bool hit = (size_t)(p - 1 - name) == length && !memcmp(name, key, length);
        p = skip_space(p, end);
        if (p >= end || *p++ != ':') return false;
        p = skip_space(p, end);
        const char *start = p;
        if (!(p = skip_value(p, end))) return false;
        if (hit) {
            bool string = *start == '"';
            *value = (struct span){start + string, p - string};
            return true;
        }
        p = skip_space(p, end);
        if (p >= end || *p++ != ',') return false;
    }
}

static bool is(struct span s, const char *text) { return (size_t)(s.end - s.p) == strlen(text) && !memcmp(s.p, text, strlen(text)); }
static long number(struct span s) { return s.p < s.end ? strtol(s.p, NULL, 10) : 0; }

/* ------------------------------------------------------------------ timers */

enum timer_kind { DIAL, SEND_FRAME, PLAYED, BURST, SECOND, PHASE };
struct timer { double at; enum timer_kind kind; void *owner; };
static struct timer *heap;
static size_t heap_size, heap_room;

static void schedule(double at, enum timer_kind kind, void *owner) {
    if (heap_size == heap_room) heap = realloc(heap, (heap_room = heap_room ? heap_room * 2 : 256) * sizeof *heap);
    size_t i = heap_size++;
    for (; i && heap[(i - 1) / 2].at > at; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = (struct timer){at, kind, owner};
}

static struct timer take_timer(void) {
    struct timer first = heap[0], last = heap[--heap_size];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < heap_size; i = child) {
        if (child + 1 < heap_size && heap[child + 1].at < heap[child].at) child++;
        if (heap[child].at >= last.at) break;
        heap[i] = heap[child];
    }
    if (heap_size) heap[i] = last;
    return first;
}

/* ------------------------------------------------------------------ sockets and websocket frames */

enum kind { LISTENER, STDIN, CARRIER, MODEL };
struct conn {
    enum kind kind;
    int fd; /* -1: closed */
    bool upgraded, writable_wanted;
    uint8_t *in, *out; /* an incomplete message; what the kernel has not taken yet */
    size_t in_length, in_room, out_length, out_room;
};

static int epoll_fd;
static uint8_t received[1 << 18];
static struct {
    uint64_t sent, returned, repeated, damaged, misdelivered, foreign_bytes, inserted, skipped;
    uint64_t marks, marks_echoed, marks_cleared, clears, clears_unasked, late_audio_bytes;
    uint64_t turns, replies, no_reply, barges, barges_unanswered, short_replies, reply_lost_ms;
    uint64_t truncates, deletes, truncates_refused, cancels, bursts_sent, bursts_found;
    uint64_t refused, dropped, wire_errors, model_errors, connected, sessions, configured, identified, stalled_bytes;
} tally;
static char first_error[200];

static void complain(uint64_t *counter, const char *what, const char *p, size_t n) {
    ++*counter;
    if (!first_error[0]) {
        snprintf(first_error, sizeof first_error, "%s: %.*s", what, (int)(n > 120 ? 120 : n), p);
        for (char *c = first_error; *c; c++)
            if (*c == '"' || *c == '\\' || (unsigned char)*c < 32 || (unsigned char)*c > 126) *c = '\'';
    }
}

static void call_lost(struct conn *c, const char *why);

static void close_conn(struct conn *c) {
    if (c->fd < 0) return;
    close(c->fd); /* leaves the epoll set with its last descriptor */
    c->fd = -1;
    free(c->in), free(c->out);
    c->in = c->out = NULL;
    c->in_length = c->in_room = c->out_length = c->out_room = 0;
}

static void want(struct conn *c, bool writable) {
    if (c->writable_wanted == writable) return;
    struct epoll_event e = {.events = EPOLLIN | (writable ? EPOLLOUT : 0u), .data.ptr = c};
    c->writable_wanted = writable;
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

static void keep(uint8_t **buffer, size_t *length, size_t *room, const uint8_t *data, size_t n) {
    if (*length + n > *room) *buffer = realloc(*buffer, *room = (*length + n) * 2);
    memcpy(*buffer + *length, data, n);
    *length += n;
}

static void write_bytes(struct conn *c, const uint8_t *data, size_t n) {
    if (c->fd < 0) return;
    if (!c->out_length) {
        ssize_t written = send(c->fd, data, n, MSG_NOSIGNAL);
        if (written == (ssize_t)n) return;
        if (written < 0 && errno != EAGAIN) return; /* the reader's side learns of it and closes */
        if (written > 0) data += written, n -= (size_t)written;
        tally.stalled_bytes += n;
    }
    if (c->out_length + n > 8u << 20) {
        call_lost(c, "the server stopped reading");
        return;
    }
    keep(&c->out, &c->out_length, &c->out_room, data, n);
    want(c, true);
}

static void flush_out(struct conn *c) {
    ssize_t written = send(c->fd, c->out, c->out_length, MSG_NOSIGNAL);
    if (written <= 0) return;
    c->out_length -= (size_t)written;
    memmove(c->out, c->out + written, c->out_length);
    if (!c->out_length) want(c, false);
}

static void xor_mask(uint8_t *p, size_t n, const uint8_t mask[4]) {
    uint64_t wide;
    memcpy(&wide, mask, 4), memcpy((uint8_t *)&wide + 4, mask, 4);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t v;
        memcpy(&v, p + i, 8), v ^= wide, memcpy(p + i, &v, 8);
    }
    for (; i < n; i++) p[i] ^= mask[i & 3];
}

/* One unfragmented frame; the carrier is the websocket client and masks (RFC 6455 section 5.3). */
static void send_frame(struct conn *c, int opcode, const char *payload, size_t n) {
    static uint8_t frame[1 << 17];
    uint8_t *p = frame, masked = c->kind == CARRIER ? 0x80 : 0;
    if (n + 14 > sizeof frame) die("a message of %zu bytes is more than this program ever sends", n);
    *p++ = (uint8_t)(0x80 | opcode);
    if (n < 126) *p++ = (uint8_t)(masked | n);
    else if (n < 65536) *p++ = masked | 126, *p++ = (uint8_t)(n >> 8), *p++ = (uint8_t)n;
    else {
        *p++ = masked | 127;
        for (int i = 7; i >= 0; i--) *p++ = (uint8_t)((uint64_t)n >> (8 * i));
    }
    if (masked) {
        uint64_t bits = random_bits() >> 16;
        memcpy(p, &bits, 4);
        memcpy(p + 4, payload, n);
        xor_mask(p + 4, n, p);
        p += 4;
    } else memcpy(p, payload, n);
    write_bytes(c, frame, (size_t)(p - frame) + n);
}

static void send_text(struct conn *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void send_text(struct conn *c, const char *format, ...) {
    static char text[4096];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n > 0 && (size_t)n < sizeof text) send_frame(c, 1, text, (size_t)n);
}

static int tcp_socket(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0) die("socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void watch(struct conn *c, int fd, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = c};
    c->fd = fd;
    c->writable_wanted = events & EPOLLOUT;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e)) die("epoll: %s", strerror(errno));
}

/* ------------------------------------------------------------------ calls and sessions */

enum stage { DIALLING, HOLDING, TELLING, GAP, SPEAKING, AWAITING, LISTENING };
struct mark { double due; uint16_t length; char name[78]; };
struct call {
    struct conn conn;
    struct session *session; /* known once the model has heard the call's number (conversation) */
    int index;
    char sid[36];
    double dialled, origin; /* frame k is due at origin + k * 20 ms */
    bool streaming, stopped, set_up;
    uint32_t frame, sequence;
    double sent_at[RING];
    /* echo */
    uint8_t part[FRAME];
    size_t part_length;
    bool synced;
    uint32_t next_burst, bursts[16], burst_count, frames_back;
    int64_t out_samples, quiet, shift; /* shift: content at input sample s returns at output sample s + shift */
    /* playout */
    double play_end;
    uint64_t queued; /* bytes ever received */
    struct mark *marks;
    uint32_t mark_head, mark_count, mark_room;
    /* conversation */
    enum stage stage;
    double until, barge_after, reply_began, loud_at;
    uint32_t told, tell_frame;
    uint64_t reply_start, reply_bytes;
    bool expecting_clear, cleared, cut, barge_planned;
    double cut_played, cut_truncated; /* ms; NaN until known */
};

struct session {
    struct conn conn;
    struct call *call;
    bool pcm_in, pcm_out, configured, active;
    double configured_at;
    uint32_t number, responses, items;
    uint64_t heard; /* 20 ms blocks */
    /* ears */
    bool loud, speaking;
    uint32_t quiet_blocks, tell_block, tell_value;
    bool telling;
    uint64_t heard_at_tell;
    double part_peak;
    size_t part_samples;
    /* voice */
    uint64_t to_send, sent; /* 8 kHz samples of the current response */
    double first_delta_at, speech_at;
    uint32_t phase;
};

static struct call *calls;
static struct session **sessions;
static size_t session_count, session_room;
static struct conn listener = {.kind = LISTENER}, standard_input = {.kind = STDIN};
static enum { WAITING, RAMPING, WARMING, MEASURING, DRAINING, CLOSING, DONE } phase = WAITING;
static double measure_from = INFINITY, measure_to = INFINITY, cpu_from, cpu_to, talk_from = INFINITY, deadline;
static int dialled;

static void call_lost(struct conn *c, const char *why) {
    if (c->kind == CARRIER) {
        struct call *call = (struct call *)c;
        if (!call->stopped) complain(c->upgraded ? &tally.dropped : &tally.refused, why, "", 0);
        call->stopped = true;
    }
    close_conn(c);
}

static char *put(char *p, const char *text) {
    size_t n = strlen(text);
    memcpy(p, text, n);
    return p + n;
}
static char *put_number(char *p, uint64_t v) {
    char digits[20];
    int n = 0;
    do digits[n++] = (char)('0' + v % 10);
    while (v /= 10);
    while (n) *p++ = digits[--n];
    return p;
}

/* ------------------------------------------------------------------ carrier side: what the caller says */

/* No byte is 0x7F: that is minus zero, the one code word a decode and encode does not give back. */
static const uint8_t MAGIC[4] = {0x12, 0x9A, 0x34, 0xBC};
static uint8_t filler[4096 + FRAME], hiss[4096 + FRAME], tone[FRAME], voice8[8000 + 4096];
#define HEADER 9

static uint8_t linear_to_mulaw(int sample) { /* ITU-T G.711, as in the Sun reference implementation */
    int sign = sample < 0 ? 0 : 0x80, segment = 0;
    int magnitude = (sample < 0 ? -sample : sample) + 132;
    if (magnitude > 32767) magnitude = 32767;
    for (int m = magnitude >> 8; m; m >>= 1) segment++;
    return (uint8_t)(sign | (~(segment << 4 | ((magnitude >> (segment + 3)) & 15)) & 0x7F));
}

static bool is_loud(uint8_t code) { return (uint8_t)(~code & 0x7F) >= 0x50; } /* from 4092, an eighth of full scale */
static int64_t tone_onset; /* samples of the burst before it is loud */

static void make_audio(void) {
    for (size_t i = 0; i < sizeof filler; i++) {
        uint64_t r = random_bits() >> 20;
        filler[i] = (uint8_t)(0x60 + (r & 0x1E) + (r & 0x40 ? 0x80 : 0));   /* speech-like loudness, never 0x7F */
        hiss[i] = (uint8_t)(0x7A + (r % 4) + (r & 0x40 ? 0x80 : 0));        /* line noise around -60 dBFS */
    }
    for (int i = 0; i < FRAME; i++) tone[i] = linear_to_mulaw((int)(12000 * sin(2 * M_PI * 400 * (i + 0.5) / 8000)));
    while (!is_loud(tone[tone_onset])) tone_onset++;
    for (size_t i = 0; i < sizeof voice8; i++) voice8[i] = linear_to_mulaw((int)(8000 * sin(2 * M_PI * 250 * (double)i / 8000)));
}

static const uint8_t *identified_frame(struct call *c, uint32_t k) {
    static uint8_t frame[FRAME];
    memcpy(frame, MAGIC, 4);
    frame[4] = (uint8_t)(0x80 | (c->index & 0x7F)), frame[5] = (uint8_t)(0x80 | (c->index >> 7 & 0x7F));
    frame[6] = (uint8_t)(0x80 | (k & 0x7F)), frame[7] = (uint8_t)(0x80 | (k >> 7 & 0x7F)), frame[8] = (uint8_t)(0x80 | (k >> 14 & 0x7F));
    memcpy(frame + HEADER, filler + (((uint32_t)c->index * 131u + k * 7u) & 4095), FRAME - HEADER);
    return frame;
}

static const uint8_t *line_noise(struct call *c, uint32_t k) { return hiss + (((uint32_t)c->index * 131u + k * 7u) & 4095); }

static const uint8_t *burst_frame(struct call *c, uint32_t k) {
    if (!c->set_up || k < c->next_burst) return line_noise(c, k);
    memmove(c->bursts + 1, c->bursts, sizeof c->bursts - sizeof *c->bursts);
    c->bursts[0] = k;
    if (c->burst_count < 16) c->burst_count++;
    c->next_burst = k + 37 + (uint32_t)(random_bits() % 26);
    tally.bursts_sent++;
    return tone;
}

static bool is_playing(const struct call *c, double at) { return c->play_end > at; }
static uint64_t played(const struct call *c, double at) {
    double left = (c->play_end - at) * 8000;
    return left > 0 ? c->queued - (uint64_t)fmin(left, (double)c->queued) : c->queued;
}

/* The caller's number, told once as 60 ms bits: a one, then 12 bits, most significant first, then quiet. */
static bool tells_loud(const struct call *c) {
    uint32_t bit = c->told / 3;
    return bit == 0 || (bit <= 12 && (c->index >> (12 - bit) & 1));
}

static void end_turn(struct call *c, double at) {
    c->stage = GAP;
    c->until = at + uniform(0.3, 1.0);
}

static void start_speaking(struct call *c, double at) {
    c->stage = SPEAKING;
    c->until = at + uniform(2, 6);
    c->loud_at = at;
    c->cleared = false;
    tally.turns++;
}

static void reply_finished(struct call *c, double at) {
    tally.replies++;
    if (c->session && !c->cut && c->session->sent == c->session->to_send) {
        int64_t missing = (int64_t)c->session->to_send - (int64_t)c->reply_bytes;
        if (missing > (options.pcm ? FRAME : 0)) {
            tally.short_replies++;
            tally.reply_lost_ms += (uint64_t)missing / 8;
        }
    }
    end_turn(c, at);
}

/* What this caller says in this 20 ms; the only place where a conversation's turns advance. */
static const uint8_t *conversation_frame(struct call *c, uint32_t k, double at) {
    bool loud = false;
    switch (c->stage) {
    case DIALLING: break;
    case HOLDING:
        if (at >= c->until && at >= talk_from && !is_playing(c, at)) c->stage = TELLING, c->told = 0, c->tell_frame = k + 1;
        break;
    case TELLING:
        loud = tells_loud(c);
        if (++c->told >= 3 * 13 + 25) end_turn(c, at);
        break;
    case GAP:
        if (at >= c->until && phase < DRAINING) start_speaking(c, at), loud = true;
        break;
    case SPEAKING:
        loud = at < c->until;
        if (loud) break;
        if (c->expecting_clear) tally.barges_unanswered++, c->expecting_clear = false;
        c->stage = AWAITING;
        c->until = at + 5;
        c->reply_bytes = 0;
        c->cut = c->cleared = false;
        c->barge_planned = uniform(0, 1) < options.barge;
        c->barge_after = uniform(0.5, 1.5);
        break;
    case AWAITING:
        if (c->reply_bytes) c->stage = LISTENING;
        else if (at >= c->until) tally.no_reply++, end_turn(c, at);
        break;
    case LISTENING:
        if (c->barge_planned && at >= c->reply_began + c->barge_after && c->play_end > at + 0.2 && phase < DRAINING) {
            tally.barges++;
            c->expecting_clear = c->cut = true;
            c->cut_played = c->cut_truncated = NAN;
            start_speaking(c, at);
            loud = true;
        } else if (at > c->play_end + 0.3) reply_finished(c, at);
        break;
    }
    return loud ? tone : line_noise(c, k);
}

static void send_media(struct call *c, double at) {
    static char text[512];
    uint32_t k = c->frame++;
    const uint8_t *audio = options.conversation ? conversation_frame(c, k, at) : options.pcm ? burst_frame(c, k) : identified_frame(c, k);
    char *p = put(text, "{\"event\":\"media\",\"sequenceNumber\":\"");
    p = put_number(p, ++c->sequence);
    p = put(p, "\",\"media\":{\"track\":\"inbound\",\"chunk\":\"");
    p = put_number(p, k + 1);
    p = put(p, "\",\"timestamp\":\"");
    p = put_number(p, (uint64_t)k * 20);
    p = put(p, "\",\"payload\":\"");
    p += base64_encode(p, audio, FRAME);
    p = put(p, "\"},\"streamSid\":\"");
    p = put(p, c->sid);
    p = put(p, "\"}");
    double t = now();
    c->sent_at[k % RING] = t;
    if (t >= measure_from && t < measure_to) {
        tally.sent++;
        record(&late_ms, (t - (c->origin + k * 0.020)) * 1000);
    }
    send_frame(&c->conn, 1, text, (size_t)(p - text));
}

static void frame_due(struct call *c) {
    if (c->stopped || c->conn.fd < 0) return;
    send_media(c, now());
    schedule(c->origin + c->frame * 0.020, SEND_FRAME, c);
}

/* ------------------------------------------------------------------ carrier side: what comes back */

static void frame_returned(struct call *c, uint32_t k, double at) {
    double *sent = &c->sent_at[k % RING];
    if (k >= c->frame || c->frame - k > RING || *sent == 0) {
        tally.repeated++;
        return;
    }
    if (*sent >= measure_from && *sent < measure_to) {
        tally.returned++;
        record(&echo_ms, (at - *sent) * 1000);
    }
    *sent = 0;
}

static void match_frame(struct call *c, const uint8_t *f, double at) {
    uint32_t index = (f[4] & 0x7Fu) | (f[5] & 0x7Fu) << 7, k = (f[6] & 0x7Fu) | (f[7] & 0x7Fu) << 7 | (f[8] & 0x7Fu) << 14;
    if (index != (uint32_t)c->index) tally.misdelivered++;
    else if (memcmp(f + HEADER, filler + ((index * 131u + k * 7u) & 4095), FRAME - HEADER)) tally.damaged++;
    else frame_returned(c, k, at);
}

static void match_bytes(struct call *c, const uint8_t *p, size_t n, double at) {
    while (n) {
        if (!c->part_length && n >= FRAME && !memcmp(p, MAGIC, 4)) {
            match_frame(c, p, at);
            p += FRAME, n -= FRAME;
            continue;
        }
        c->part[c->part_length++] = *p++, n--;
        while (c->part_length && memcmp(c->part, MAGIC, c->part_length < 4 ? c->part_length : 4)) {
            memmove(c->part, c->part + 1, --c->part_length); /* not ours: filled in by the server */
            tally.foreign_bytes++;
        }
        if (c->part_length == FRAME) match_frame(c, c->part, at), c->part_length = 0;
    }
}

/* A burst begins at output sample `place`. Its neighbourhood says which one it is; its place, what was lost. */
static void burst_found(struct call *c, int64_t place) {
    int64_t best = INT64_MAX;
    if (!c->burst_count) return;
    tally.bursts_found++;
    if (!c->synced) {
        c->shift = place - (int64_t)c->bursts[c->burst_count - 1] * FRAME;
        c->synced = true;
        best = 0;
    } else
        for (uint32_t i = 0; i < c->burst_count; i++) {
            int64_t off = place - (int64_t)c->bursts[i] * FRAME - c->shift;
            if (llabs(off) < llabs(best)) best = off;
        }
    int64_t lost = llround((double)-best / FRAME);
    c->shift -= lost * FRAME;
    if (lost < 0) tally.inserted += (uint64_t)-lost;
    else {
        c->frames_back += (uint32_t)lost; /* as many never come: they stay unreturned */
        if (measure_from < INFINITY) tally.skipped += (uint64_t)lost;
    }
    /* Whole frames went before the first burst; what remains, within -4..16 ms, is the codecs' delay. */
    int64_t whole = (int64_t)floor((double)(c->shift + 32) / FRAME) * FRAME;
    record(&codec_ms, (double)(c->shift + best + lost * FRAME - whole) / 8.0);
}

static void match_position(struct call *c, const uint8_t *p, size_t n, double at) {
    for (size_t i = 0; i < n; i++) {
        if (!is_loud(p[i])) {
            c->quiet++;
            continue;
        }
        if (c->quiet > 3 * FRAME) burst_found(c, c->out_samples + (int64_t)i - tone_onset);
        c->quiet = 0;
    }
    c->out_samples += (int64_t)n;
    if (!c->synced) return;
    int64_t whole = (int64_t)floor((double)(c->shift + 32) / FRAME);
    int64_t complete = c->out_samples / FRAME - whole; /* input frames whose 20 ms have returned */
    if (complete > c->frame) complete = c->frame;      /* audio was inserted: the next burst will tell */
    if (!c->frames_back) c->frames_back = (uint32_t)(complete > 0 ? complete - 1 : 0);
    for (; c->frames_back < complete; c->frames_back++) frame_returned(c, c->frames_back, at);
}

static void heard_reply(struct call *c, size_t n, double at) {
    if (c->stage == SPEAKING && c->cleared) tally.late_audio_bytes += n;
    if (c->stage != AWAITING && c->stage != LISTENING) return;
    if (!c->reply_bytes) {
        c->reply_start = c->queued - n;
        c->reply_began = fmax(at, c->play_end - (double)n / 8000);
        if (c->session && c->session->first_delta_at && at < measure_to && c->session->first_delta_at >= measure_from)
            record(&reply_ms, (at - c->session->first_delta_at) * 1000);
    }
    c->reply_bytes += n;
}

static void media_received(struct call *c, struct span payload, double at) {
    static uint8_t audio[MAX_MESSAGE];
    size_t n = base64_decode(audio, payload.p, (size_t)(payload.end - payload.p));
    c->queued += n;
    c->play_end = fmax(c->play_end, at) + (double)n / 8000;
    if (options.conversation) {
        heard_reply(c, n, at);
        return;
    }
    if (!c->set_up) {
        c->set_up = true;
        c->next_burst = c->frame + SYNC_AFTER;
        record(&setup_ms, (at - c->dialled) * 1000);
    }
    if (options.pcm) match_position(c, audio, n, at);
    else match_bytes(c, audio, n, at);
}

static void echo_mark(struct call *c, const struct mark *m) {
    send_text(&c->conn, "{\"event\":\"mark\",\"sequenceNumber\":\"%u\",\"streamSid\":\"%s\",\"mark\":{\"name\":\"%.*s\"}}", ++c->sequence, c->sid,
              m->length, m->name);
}

static void mark_received(struct call *c, struct span name, double at) {
    size_t n = (size_t)(name.end - name.p);
    tally.marks++;
    if (n > sizeof c->marks->name || c->mark_count >= 8192) {
        complain(&tally.wire_errors, "mark", name.p, n);
        return;
    }
    if (c->mark_head + c->mark_count == c->mark_room) {
        memmove(c->marks, c->marks + c->mark_head, c->mark_count * sizeof *c->marks);
        c->mark_head = 0;
        if (c->mark_count * 2 >= c->mark_room) c->marks = realloc(c->marks, (c->mark_room = c->mark_room ? c->mark_room * 2 : 16) * sizeof *c->marks);
    }
    struct mark *m = &c->marks[c->mark_head + c->mark_count++];
    m->due = fmax(c->play_end, at);
    m->length = (uint16_t)n;
    memcpy(m->name, name.p, n);
    if (c->mark_count == 1) schedule(m->due, PLAYED, c);
}

static void marks_due(struct call *c, double at) {
    while (c->mark_count && c->marks[c->mark_head].due <= at) {
        echo_mark(c, &c->marks[c->mark_head++]);
        c->mark_count--;
        tally.marks_echoed++;
    }
    if (c->mark_count) schedule(c->marks[c->mark_head].due, PLAYED, c);
}

/* Both ledgers of one barge-in: what had been played when the buffer was emptied, what the model was told. */
static void compare_cut(struct call *c) {
    if (isnan(c->cut_played) || isnan(c->cut_truncated)) return;
    record(&truncate_ms, fabs(c->cut_truncated - c->cut_played));
    c->cut_truncated = NAN;
}

static void clear_received(struct call *c, double at) {
    tally.clears++;
    if (c->expecting_clear) {
        c->expecting_clear = false;
        c->cleared = true;
        c->cut_played = ((double)played(c, at) - (double)c->reply_start) / 8;
        if (c->loud_at >= measure_from && c->loud_at < measure_to) {
            record(&barge_ms, (at - c->loud_at) * 1000);
            if (c->session) record(&reaction_ms, (at - c->session->speech_at) * 1000);
        }
        compare_cut(c);
    } else if (is_playing(c, at)) tally.clears_unasked++;
    c->queued = played(c, at); /* what was emptied was never played */
    c->play_end = fmin(c->play_end, at);
    for (; c->mark_count; c->mark_count--, c->mark_head++) {
        echo_mark(c, &c->marks[c->mark_head]); /* carrier sheet, B1.3: clear echoes all pending marks */
        tally.marks_cleared++;
    }
}

static void carrier_message(struct call *c, struct span m, double at) {
    struct span event, inner, value, sid;
    if (!find(m, "event", &event) || !find(m, "streamSid", &sid) || !is(sid, c->sid)) complain(&tally.wire_errors, "carrier", m.p, (size_t)(m.end - m.p));
    else if (is(event, "media") && find(m, "media", &inner) && find(inner, "payload", &value)) media_received(c, value, at);
    else if (is(event, "mark") && find(m, "mark", &inner) && find(inner, "name", &value)) mark_received(c, value, at);
    else if (is(event, "clear")) clear_received(c, at);
    else complain(&tally.wire_errors, "carrier", m.p, (size_t)(m.end - m.p));
}

static void dial(struct call *c) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.carrier_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = tcp_socket();
    c->conn.kind = CARRIER;
    c->dialled = now();
    c->cut_played = c->cut_truncated = NAN;
    snprintf(c->sid, sizeof c->sid, "MZ%032x", (unsigned)c->index + 1);
    watch(&c->conn, fd, EPOLLIN);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) {
        call_lost(&c->conn, "connect");
        return;
    }
    char request[512];
    int n = snprintf(request, sizeof request,
                     "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nUser-Agent: offhook-rig\r\n\r\n",
                     options.path, options.carrier_port);
    keep(&c->conn.out, &c->conn.out_length, &c->conn.out_room, (uint8_t *)request, (size_t)n);
    want(&c->conn, true); /* written when connected */
}

static void carrier_upgraded(struct call *c) {
    tally.connected++;
    send_text(&c->conn, "{\"event\":\"connected\",\"protocol\":\"Call\",\"version\":\"1.0.0\"}");
    send_text(&c->conn,
              "{\"event\":\"start\",\"sequenceNumber\":\"%u\",\"start\":{\"accountSid\":\"AC%032x\",\"streamSid\":\"%s\",\"callSid\":\"CA%032x\","
              "\"tracks\":[\"inbound\"],\"mediaFormat\":{\"encoding\":\"audio/x-mulaw\",\"sampleRate\":8000,\"channels\":1},"
              "\"customParameters\":{}},\"streamSid\":\"%s\"}",
              ++c->sequence, 1, c->sid, (unsigned)c->index + 1, c->sid);
    c->streaming = true;
    c->stage = HOLDING;
    /* Calls begin when they begin: phases are random, so that frames do not arrive in step. */
    c->origin = now() + uniform(0, 0.020);
    schedule(c->origin, SEND_FRAME, c);
}

/* ------------------------------------------------------------------ model side: what it says */

static char *voice_text[2];         /* base64 of one period and more of the agent's voice: mu-law, PCM16 at 24 kHz */
static const size_t VOICE_PERIOD[2] = {96, 576}; /* bytes: 3 periods of 250 Hz, a multiple of 3 bytes in either format */
static const size_t VOICE_ROOM[2] = {4800, 28800};

static void make_voice(void) {
    for (int pcm = 0; pcm < 2; pcm++) {
        uint8_t *bytes = malloc(VOICE_ROOM[pcm] + 4);
        for (size_t i = 0; i < VOICE_ROOM[pcm]; i++) {
            if (!pcm) bytes[i] = voice8[i % VOICE_PERIOD[0]];
            else if (i % 2 == 0) {
                int16_t s = (int16_t)(8000 * sin(2 * M_PI * 250 * (double)(i / 2 % (VOICE_PERIOD[1] / 2)) / 24000));
                memcpy(bytes + i, &s, 2);
            }
        }
        voice_text[pcm] = malloc(VOICE_ROOM[pcm] / 3 * 4 + 8);
        base64_encode(voice_text[pcm], bytes, VOICE_ROOM[pcm]);
        free(bytes);
    }
}

static void send_delta(struct session *s, const char *audio, size_t n) {
    static char text[1 << 16];
    if (n + 400 > sizeof text) {
        complain(&tally.model_errors, "append too large to echo", "", 0);
        return;
    }
    char *p = put(text, "{\"type\":\"response.output_audio.delta\",\"event_id\":\"event_");
    p = put_number(p, s->number), *p++ = '_', p = put_number(p, ++s->phase);
    p = put(p, "\",\"response_id\":\"resp_");
    p = put_number(p, s->responses);
    p = put(p, "\",\"item_id\":\"item_");
    p = put_number(p, s->items);
    p = put(p, "\",\"output_index\":0,\"content_index\":0,\"delta\":\"");
    memcpy(p, audio, n), p += n;
    p = put(p, "\"}");
    send_frame(&s->conn, 1, text, (size_t)(p - text));
}

#define IDS "\"event_id\":\"event_%u_%u\",\"response_id\":\"resp_%u\""
#define IDS_OF(s) (s)->number, ++(s)->phase, (s)->responses

static void open_response(struct session *s) {
    struct conn *c = &s->conn;
    s->active = true;
    s->responses++, s->items++;
    send_text(c,
              "{\"type\":\"response.created\",\"event_id\":\"event_%u_%u\",\"response\":{\"object\":\"realtime.response\",\"id\":\"resp_%u\","
              "\"status\":\"in_progress\",\"status_details\":null,\"output\":[],\"usage\":null,\"metadata\":null}}",
              s->number, ++s->phase, s->responses);
    send_text(c, "{\"type\":\"response.output_item.added\"," IDS ",\"output_index\":0,\"item\":{\"id\":\"item_%u\",\"object\":\"realtime.item\","
              "\"type\":\"message\",\"status\":\"in_progress\",\"role\":\"assistant\",\"content\":[]}}", IDS_OF(s), s->items);
    send_text(c, "{\"type\":\"conversation.item.added\",\"event_id\":\"event_%u_%u\",\"previous_item_id\":null,\"item\":{\"id\":\"item_%u\","
              "\"object\":\"realtime.item\",\"type\":\"message\",\"status\":\"in_progress\",\"role\":\"assistant\",\"content\":[]}}",
              s->number, ++s->phase, s->items);
    send_text(c, "{\"type\":\"response.content_part.added\"," IDS ",\"item_id\":\"item_%u\",\"output_index\":0,\"content_index\":0,"
              "\"part\":{\"type\":\"audio\",\"transcript\":\"\"}}", IDS_OF(s), s->items);
}

static void close_response(struct session *s, const char *reason) { /* reason NULL: completed */
    struct conn *c = &s->conn;
    if (!s->active) return;
    s->active = false;
    const char *item_status = reason ? "incomplete" : "completed";
    send_text(c, "{\"type\":\"response.output_audio.done\"," IDS ",\"item_id\":\"item_%u\",\"output_index\":0,\"content_index\":0}", IDS_OF(s), s->items);
    send_text(c, "{\"type\":\"response.output_audio_transcript.done\"," IDS ",\"item_id\":\"item_%u\",\"output_index\":0,\"content_index\":0,"
              "\"transcript\":\"As measured.\"}", IDS_OF(s), s->items);
    send_text(c, "{\"type\":\"response.output_item.done\"," IDS ",\"output_index\":0,\"item\":{\"id\":\"item_%u\",\"object\":\"realtime.item\","
              "\"type\":\"message\",\"status\":\"%s\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_audio\",\"transcript\":\"As measured.\"}]}}",
              IDS_OF(s), s->items, item_status);
    char details[80] = "null";
    if (reason) snprintf(details, sizeof details, "{\"type\":\"cancelled\",\"reason\":\"%s\"}", reason);
    send_text(c,
              "{\"type\":\"response.done\",\"event_id\":\"event_%u_%u\",\"response\":{\"object\":\"realtime.response\",\"id\":\"resp_%u\",\"status\":\"%s\","
              "\"status_details\":%s,\"output\":[{\"id\":\"item_%u\",\"object\":\"realtime.item\",\"type\":\"message\",\"status\":\"%s\","
              "\"role\":\"assistant\",\"content\":[{\"type\":\"output_audio\",\"transcript\":\"As measured.\"}]}],\"usage\":{\"total_tokens\":30,"
              "\"input_tokens\":20,\"output_tokens\":10,\"input_token_details\":{\"text_tokens\":0,\"audio_tokens\":20,\"cached_tokens\":0},"
              "\"output_token_details\":{\"text_tokens\":2,\"audio_tokens\":8}},\"metadata\":null}}",
              s->number, ++s->phase, s->responses, reason ? "cancelled" : "completed", details, s->items, item_status);
}

static void burst_due(struct session *s) {
    if (!s->active || s->conn.fd < 0 || !s->to_send) return;
    if (s->sent >= s->to_send) {
        close_response(s, NULL);
        return;
    }
    uint64_t samples = (uint64_t)(100 + random_bits() % 101) * 8 / 3 * 3; /* 100-200 ms; threes keep base64 whole */
    if (samples > s->to_send - s->sent) samples = s->to_send - s->sent;
    size_t bytes = samples * (s->pcm_out ? 6 : 1);
    if (!s->sent) s->first_delta_at = now();
    send_delta(s, voice_text[s->pcm_out], bytes / 3 * 4);
    s->sent += samples;
    schedule(now() + (double)samples / 8000 / 12, BURST, s); /* 12 times real time */
}

static void start_reply(struct session *s) {
    if (s->active) return;
    open_response(s);
    s->to_send = 480 * (uint64_t)uniform(34, 101); /* 2-6 s in steps of 60 ms: whole frames, and threes for base64 */
    s->sent = 0;
    burst_due(s);
}

/* ------------------------------------------------------------------ model side: what it hears */

static void heard_onset(struct session *s, double at) {
    s->speaking = true;
    s->speech_at = at;
    send_text(&s->conn, "{\"type\":\"input_audio_buffer.speech_started\",\"event_id\":\"event_%u_%u\",\"audio_start_ms\":%llu,\"item_id\":\"heard_%u_%u\"}",
              s->number, ++s->phase, (unsigned long long)s->heard * 20, s->number, s->responses);
    close_response(s, "turn_detected");
}

static void heard_end(struct session *s) {
    struct conn *c = &s->conn;
    s->speaking = false;
    send_text(c, "{\"type\":\"input_audio_buffer.speech_stopped\",\"event_id\":\"event_%u_%u\",\"audio_end_ms\":%llu,\"item_id\":\"heard_%u_%u\"}",
              s->number, ++s->phase, (unsigned long long)s->heard * 20, s->number, s->responses);
    send_text(c, "{\"type\":\"input_audio_buffer.committed\",\"event_id\":\"event_%u_%u\",\"previous_item_id\":null,\"item_id\":\"heard_%u_%u\"}",
              s->number, ++s->phase, s->number, s->responses);
    start_reply(s);
}

static void number_told(struct session *s) {
    uint32_t index = s->tell_value;
    if (index >= (uint32_t)options.calls || calls[index].session) {
        complain(&tally.model_errors, "a call's number was not understood", "", 0);
        return;
    }
    s->call = &calls[index];
    s->call->session = s;
    tally.identified++;
    record(&setup_ms, (s->configured_at - s->call->dialled) * 1000);
}

/* One 20 ms block of the caller's audio, loud or not: first the number, then the voice activity detection. */
static void heard_block(struct session *s, bool loud, double at) {
    s->heard++;
    if (!s->call) {
        if (!s->telling) {
            if (!loud) return;
            s->telling = true, s->tell_block = 0, s->tell_value = 0, s->heard_at_tell = s->heard;
        }
        uint32_t block = s->tell_block++;
        if (block % 3 == 1 && block >= 3 && block < 39) s->tell_value = s->tell_value << 1 | loud; /* the middle of each bit */
        if (block == 3 * 13 + 5) s->telling = false, number_told(s);
        return;
    }
    if (loud) {
        s->quiet_blocks = 0;
        if (!s->speaking) heard_onset(s, at);
    } else if (s->speaking && ++s->quiet_blocks >= 10) heard_end(s);
}

static void hear(struct session *s, struct span text, double at) {
    static uint8_t audio[MAX_MESSAGE];
    size_t n = base64_decode(audio, text.p, (size_t)(text.end - text.p)), width = s->pcm_in ? 2 : 1, block = s->pcm_in ? 480 : FRAME;
    for (size_t i = 0; i + width <= n; i += width) {
        double level;
        if (s->pcm_in) {
            int16_t v;
            memcpy(&v, audio + i, 2);
            level = abs(v);
        } else level = is_loud(audio[i]) ? 8000 : 0;
        if (level > s->part_peak) s->part_peak = level;
        if (++s->part_samples == block) {
            heard_block(s, s->part_peak > 5000, at);
            s->part_samples = 0, s->part_peak = 0;
        }
    }
    /* A codec's delay moves the blocks' borders; what is loud now is heard now, not with the next frame. */
    if (s->call && !s->speaking && s->part_peak > 5000) heard_onset(s, at);
}

/* ------------------------------------------------------------------ model side: the wire */

static bool wants_pcm(struct span session, const char *direction) {
    struct span audio, side, format, type;
    return find(session, "audio", &audio) && find(audio, direction, &side) && find(side, "format", &format) && find(format, "type", &type) &&
           is(type, "audio/pcm");
}

static void send_session(struct session *s, const char *type) {
    const char *format[2] = {"{\"type\":\"audio/pcmu\"}", "{\"type\":\"audio/pcm\",\"rate\":24000}"};
    send_text(&s->conn,
              "{\"type\":\"%s\",\"event_id\":\"event_%u_%u\",\"session\":{\"type\":\"realtime\",\"object\":\"realtime.session\",\"id\":\"sess_%u\","
              "\"model\":\"rig\",\"instructions\":\"\",\"output_modalities\":[\"audio\"],\"tools\":[],\"tool_choice\":\"auto\",\"max_output_tokens\":\"inf\","
              "\"expires_at\":%lld,\"audio\":{\"input\":{\"format\":%s,\"transcription\":null,\"noise_reduction\":null,\"turn_detection\":"
              "{\"type\":\"server_vad\",\"threshold\":0.5,\"prefix_padding_ms\":300,\"silence_duration_ms\":200,\"create_response\":true,"
              "\"interrupt_response\":true}},\"output\":{\"format\":%s,\"voice\":\"marin\",\"speed\":1.0}}}}",
              type, s->number, ++s->phase, s->number, (long long)time(NULL) + 3600, format[s->pcm_in], format[s->pcm_out]);
}

static void refuse(struct session *s, struct span message, const char *code, const char *text) {
    struct span id = {NULL, NULL};
    bool known = find(message, "event_id", &id);
    send_text(&s->conn,
              "{\"type\":\"error\",\"event_id\":\"event_%u_%u\",\"error\":{\"type\":\"invalid_request_error\",\"code\":%s%s%s,\"message\":\"%s\",\"param\":null,"
              "\"event_id\":%s%.*s%s}}",
              s->number, ++s->phase, code ? "\"" : "", code ? code : "null", code ? "\"" : "", text, known ? "\"" : "null", (int)(id.end - id.p), id.p ? id.p : "",
              known ? "\"" : "");
}

static void truncated(struct session *s, struct span m) {
    struct span item = {NULL, NULL}, value = {NULL, NULL};
    tally.truncates++;
    find(m, "item_id", &item);
    if (!find(m, "audio_end_ms", &value)) complain(&tally.model_errors, "model", m.p, (size_t)(m.end - m.p));
    long ms = number(value);
    if (!options.conversation || ms <= (long)(s->sent / 8))
        send_text(&s->conn, "{\"type\":\"conversation.item.truncated\",\"event_id\":\"event_%u_%u\",\"item_id\":\"%.*s\",\"content_index\":0,\"audio_end_ms\":%ld}",
                  s->number, ++s->phase, (int)(item.end - item.p), item.p, ms);
    else {
        char text[120];
        tally.truncates_refused++;
        snprintf(text, sizeof text, "Audio content of %ldms is already shorter than %ldms", (long)(s->sent / 8), ms);
        refuse(s, m, NULL, text);
    }
    if (s->call) s->call->cut_truncated = (double)ms, compare_cut(s->call);
}

static void item_created(struct session *s, struct span m) {
    struct span item;
    if (!find(m, "item", &item)) return;
    for (int done = 0; done < 2; done++)
        send_text(&s->conn, "{\"type\":\"conversation.item.%s\",\"event_id\":\"event_%u_%u\",\"previous_item_id\":null,\"item\":%.*s}", done ? "done" : "added",
                  s->number, ++s->phase, (int)(item.end - item.p), item.p);
}

static void model_message(struct session *s, struct span m, double at) {
    struct span type, value;
    if (!find(m, "type", &type)) complain(&tally.model_errors, "model", m.p, (size_t)(m.end - m.p));
    else if (is(type, "input_audio_buffer.append")) {
        if (!find(m, "audio", &value)) complain(&tally.model_errors, "model", m.p, (size_t)(m.end - m.p));
        else if (options.conversation) hear(s, value, at);
        else {
            if (!s->active) open_response(s);
            send_delta(s, value.p, (size_t)(value.end - value.p));
        }
    } else if (is(type, "session.update")) {
        if (find(m, "session", &value)) s->pcm_in = wants_pcm(value, "input"), s->pcm_out = wants_pcm(value, "output");
        if (!s->configured) s->configured = true, s->configured_at = at, tally.configured++;
        if (s->pcm_in != options.pcm || s->pcm_out != options.pcm) complain(&tally.model_errors, "formats other than --format", m.p, (size_t)(m.end - m.p));
        send_session(s, "session.updated");
    } else if (is(type, "response.create")) {
        if (s->active) refuse(s, m, "conversation_already_has_active_response", "Conversation already has an active response in progress");
        else if (options.conversation) start_reply(s);
        else open_response(s);
    } else if (is(type, "response.cancel")) {
        tally.cancels++;
        if (s->active) close_response(s, "client_cancelled");
        else refuse(s, m, "response_cancel_not_active", "Cancellation failed: no active response found");
    } else if (is(type, "conversation.item.truncate")) truncated(s, m);
    else if (is(type, "conversation.item.delete")) {
        tally.deletes++;
        if (find(m, "item_id", &value))
            send_text(&s->conn, "{\"type\":\"conversation.item.deleted\",\"event_id\":\"event_%u_%u\",\"item_id\":\"%.*s\"}", s->number, ++s->phase,
                      (int)(value.end - value.p), value.p);
    } else if (is(type, "conversation.item.create")) item_created(s, m);
    else if (is(type, "input_audio_buffer.clear")) send_text(&s->conn, "{\"type\":\"input_audio_buffer.cleared\",\"event_id\":\"event_%u_%u\"}", s->number, ++s->phase);
    else if (!is(type, "input_audio_buffer.commit")) complain(&tally.model_errors, "model", m.p, (size_t)(m.end - m.p));
}

static void accept_model(void) {
    for (;;) {
        int fd = accept4(listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
        if (fd < 0) return;
        if (session_count >= 4 * MAX_CALLS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct session *s = calloc(1, sizeof *s);
        s->conn.kind = MODEL;
        s->number = (uint32_t)session_count;
        if (session_count == session_room) sessions = realloc(sessions, (session_room = session_room ? session_room * 2 : 64) * sizeof *sessions);
        sessions[session_count++] = s;
        watch(&s->conn, fd, EPOLLIN);
    }
}

/* ------------------------------------------------------------------ reading */

/* The HTTP head of either handshake; returns the bytes it took, 0 for more to come. */
static size_t handshake(struct conn *c, char *p, size_t n) {
    char *end = memmem(p, n, "\r\n\r\n", 4);
    if (!end) return 0;
    *end = 0;
    if (c->kind == CARRIER) {
        if (n < 12 || memcmp(p, "HTTP/1.1 101", 12)) {
            complain(&tally.wire_errors, "upgrade refused", p, 60);
            call_lost(c, "upgrade refused");
            return n;
        }
        c->upgraded = true;
        carrier_upgraded((struct call *)c);
    } else {
        static const char GUID[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 section 1.3 */
        char *key = strcasestr(p, "sec-websocket-key:"), joined[100], accept[32] = {0}, answer[256];
        uint8_t digest[20];
        if (!key || strncmp(p, "GET /v1/realtime", 16)) {
            close_conn(c);
            return n;
        }
        for (key += 18; *key == ' ';) key++;
        snprintf(joined, sizeof joined, "%.24s%s", key, GUID);
        sha1(joined, strlen(joined), digest);
        base64_encode(accept, digest, 20);
        int length = snprintf(answer, sizeof answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
        c->upgraded = true;
        write_bytes(c, (uint8_t *)answer, (size_t)length);
        tally.sessions++;
        send_session((struct session *)c, "session.created");
    }
    return (size_t)(end + 4 - p);
}

/* One whole frame at p; returns the bytes it took, 0 for more to come. */
static size_t take_frame(struct conn *c, uint8_t *p, size_t n, double at) {
    if (n < 2) return 0;
    size_t head = 2, length = p[1] & 0x7F, opcode = p[0] & 0x0F;
    bool masked = p[1] & 0x80;
    if (length == 126) {
        if (n < 4) return 0;
        length = (size_t)p[2] << 8 | p[3], head = 4;
    } else if (length == 127) {
        if (n < 10) return 0;
        length = 0, head = 10;
        for (int i = 2; i < 10; i++) length = length << 8 | p[i];
    }
    if (length > MAX_MESSAGE || !(p[0] & 0x80) || opcode == 0) {
        complain(&tally.wire_errors, "fragmented or oversized frame", "", 0);
        call_lost(c, "fragmented or oversized frame");
        return n;
    }
    uint8_t *mask = p + head;
    if (masked) head += 4;
    if (n < head + length) return 0;
    if (masked) xor_mask(p + head, length, mask);
    struct span message = {(char *)p + head, (char *)p + head + length};
    if (opcode == 8) {
        send_frame(c, 8, message.p, length < 2 ? 0 : 2);
        call_lost(c, "closed by the server");
    } else if (opcode == 9) send_frame(c, 10, message.p, length);
    else if (opcode == 1 || opcode == 2) {
        if (c->kind == CARRIER) carrier_message((struct call *)c, message, at);
        else model_message((struct session *)c, message, at);
    }
    return head + length;
}

static void readable(struct conn *c) {
    uint8_t *data = received;
    size_t length;
    if (c->in_length >= sizeof received / 2) { /* a large message: collect it where it is */
        static uint8_t chunk[1 << 16];
        ssize_t n = recv(c->fd, chunk, sizeof chunk, 0);
        if (n > 0) keep(&c->in, &c->in_length, &c->in_room, chunk, (size_t)n);
        else if (n == 0 || errno != EAGAIN) {
            call_lost(c, "connection lost");
            return;
        }
        data = c->in, length = c->in_length;
    } else {
        ssize_t n = recv(c->fd, received + c->in_length, sizeof received - c->in_length, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            call_lost(c, c->upgraded ? "connection lost" : "connection refused");
            return;
        }
        if (c->in_length) memcpy(received, c->in, c->in_length);
        length = c->in_length + (size_t)n;
    }
    double at = now();
    size_t done = 0, taken;
    while (c->fd >= 0 && done < length) {
        taken = c->upgraded ? take_frame(c, data + done, length - done, at) : handshake(c, (char *)data + done, length - done);
        if (!taken) break;
        done += taken;
    }
    if (c->fd < 0) return;
    size_t rest = length - done;
    if (data == c->in) memmove(c->in, c->in + done, rest), c->in_length = rest;
    else c->in_length = 0, rest ? keep(&c->in, &c->in_length, &c->in_room, data + done, rest) : (void)0;
}

/* ------------------------------------------------------------------ the run */

static void announce(const char *name) {
    printf("{\"phase\":\"%s\",\"at\":%.6f}\n", name, now());
    fflush(stdout);
}

static void open_listener(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.model_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = tcp_socket(), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 4096)) die("port %d: %s", options.model_port, strerror(errno));
    watch(&listener, fd, EPOLLIN);
}

static bool all_set_up(void) {
    uint64_t ready = options.conversation ? tally.configured : setup_ms.count;
    return ready + tally.refused + tally.dropped >= (uint64_t)options.calls;
}

static void stop_calls(void) {
    for (int i = 0; i < options.calls; i++) {
        struct call *c = &calls[i];
        if (c->stopped || c->conn.fd < 0) continue;
        send_text(&c->conn, "{\"event\":\"stop\",\"sequenceNumber\":\"%u\",\"streamSid\":\"%s\",\"stop\":{\"accountSid\":\"AC%032x\",\"callSid\":\"CA%032x\"}}",
                  ++c->sequence, c->sid, 1, (unsigned)c->index + 1);
        send_frame(&c->conn, 8, "\x03\xe8", 2);
        c->stopped = true;
    }
}

static size_t open_sessions(void) {
    size_t open = 0;
    for (size_t i = 0; i < session_count; i++) open += sessions[i]->conn.fd >= 0 && sessions[i]->conn.upgraded;
    return open;
}

/* Phases advance here, ten times a second or when their time is due. */
static void advance(double at) {
    switch (phase) {
    case WAITING: break;
    case RAMPING:
        if (dialled < options.calls || (!all_set_up() && at < deadline)) break;
        phase = WARMING;
        talk_from = at;
        /* A conversation needs its first turns before it is one: calls tell their numbers and begin to speak. */
        deadline = at + (options.conversation ? fmax(options.warmup, 8) : options.pcm ? fmax(options.warmup, 2.5) : options.warmup);
        break;
    case WARMING:
        if (at < deadline) break;
        phase = MEASURING;
        measure_from = now();
        cpu_from = cpu_seconds();
        deadline = measure_from + options.seconds;
        announce("measuring");
        break;
    case MEASURING:
        if (at < deadline) break;
        phase = DRAINING;
        measure_to = now();
        cpu_to = cpu_seconds();
        announce("measured");
        /* Frames go on, uncounted, so that what a codec or a framer withholds is pushed out. */
        deadline = at + (options.conversation ? 2 : options.pcm ? 1.5 : 1); /* pcm: until a last burst has come back */
        break;
    case DRAINING:
        if (at < deadline && (options.conversation || options.pcm || tally.returned < tally.sent)) break;
        stop_calls();
        phase = CLOSING;
        deadline = at + 5;
        break;
    case CLOSING:
        if (at >= deadline || !open_sessions()) phase = DONE;
        break;
    case DONE: break;
    }
    if (phase != DONE) schedule(fmin(at + 0.1, deadline > at ? deadline : at + 0.1), PHASE, NULL);
}

static void progress(double at) {
    static const char *names[] = {"waiting", "ramping", "warming", "measuring", "draining", "closing", "done"};
    static double last_cpu, last_at;
    double cpu = cpu_seconds();
    fprintf(stderr, "rig: %-9s calls %llu/%d sessions %zu sent %llu returned %llu turns %llu barges %llu p99 %.2f ms own load %.0f %%\n", names[phase],
            (unsigned long long)(tally.connected - tally.dropped), options.calls, open_sessions(), (unsigned long long)tally.sent,
            (unsigned long long)tally.returned, (unsigned long long)tally.turns, (unsigned long long)tally.barges,
            percentile(options.conversation ? &barge_ms : &echo_ms, 0.99), last_at ? 100 * (cpu - last_cpu) / (at - last_at) : 0.0);
    last_cpu = cpu, last_at = at;
    schedule(at + 1, SECOND, NULL);
}

static void dial_due(double at) {
    calls[dialled].index = dialled;
    dial(&calls[dialled++]);
    if (dialled < options.calls) schedule(at + 1 / options.ramp, DIAL, NULL);
    else deadline = at + 15; /* for the last set-up */
}

static void begin(void) {
    phase = RAMPING;
    deadline = INFINITY;
    schedule(now(), DIAL, NULL);
    schedule(now(), PHASE, NULL);
}

static void run_timers(void) {
    double at = now();
    while (heap_size && heap[0].at <= at) {
        struct timer t = take_timer();
        switch (t.kind) {
        case DIAL: dial_due(t.at); break;
        case SEND_FRAME: frame_due(t.owner); break;
        case PLAYED: marks_due(t.owner, at); break;
        case BURST: burst_due(t.owner); break;
        case SECOND: progress(at); break;
        case PHASE: advance(at); break;
        }
    }
}

/* One timer on a grid of 250 us: a timer per frame would cost this program more than the frame does, and a busy
 * loop would hide its load. Frames that fall due while it is awake anyway go out at their exact time. */
#define GRID 0.00025
static int timer_fd;

static void open_timer(void) {
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL}; /* edges: it need not be read */
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &e)) die("timer: %s", strerror(errno));
}

static int wait_events(struct epoll_event *events, int room) {
    static double armed;
    double due = ceil(heap[0].at / GRID) * GRID; /* the heap is never empty: SECOND and PHASE come again */
    if (due != armed) {
        struct itimerspec at = {.it_value = {(time_t)due, (long)((due - floor(due)) * 1e9)}};
        timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
        armed = due;
    }
    return epoll_wait(epoll_fd, events, room, 1000);
}

static void print_histogram(const char *name, const struct histogram *h) {
    printf("\"%s\":{\"count\":%llu,\"p50\":%.3f,\"p95\":%.3f,\"p99\":%.3f,\"max\":%.3f},", name, (unsigned long long)h->count, percentile(h, 0.5),
           percentile(h, 0.95), percentile(h, 0.99), h->max);
}

#define FIELD(name) printf("\"%s\":%llu,", #name, (unsigned long long)tally.name)

/* Conversation: `sent` is what callers said since they told their numbers, `returned` what the model heard of it. */
static void count_uplink(void) {
    tally.sent = tally.returned = 0;
    for (int i = 0; i < options.calls; i++) {
        struct call *c = &calls[i];
        if (!c->session) continue;
        uint64_t said = c->frame - c->tell_frame, heard = c->session->heard - c->session->heard_at_tell + 1;
        if (options.pcm) heard++; /* the codec keeps the last part of a frame back */
        tally.sent += said;
        tally.returned += heard < said ? heard : said;
    }
}

static void report(void) {
    double seconds = measure_to - measure_from, cpu = cpu_to - cpu_from;
    printf("{\"report\":{\"profile\":\"%s\",\"format\":\"%s\",\"calls\":%d,\"seconds\":%.3f,", options.conversation ? "conversation" : "echo",
           options.pcm ? "pcm24k" : "pcmu", options.calls, seconds);
    if (options.conversation) count_uplink();
    FIELD(sent), FIELD(returned);
    /* A loss at the very end shows only in the place of the last burst, after its frames were taken for returned. */
    long long missing = (long long)tally.sent - (long long)tally.returned;
    printf("\"lost\":%lld,", missing > (long long)tally.skipped ? missing : (long long)tally.skipped);
    print_histogram("latency_ms", &echo_ms);
    print_histogram("setup_ms", &setup_ms);
    print_histogram("reply_ms", &reply_ms);
    print_histogram("barge_in_silence_ms", &barge_ms);
    print_histogram("clear_after_speech_started_ms", &reaction_ms);
    print_histogram("truncate_error_ms", &truncate_ms);
    print_histogram("codec_delay_ms", &codec_ms);
    print_histogram("rig_lateness_ms", &late_ms);
    FIELD(connected), FIELD(refused), FIELD(dropped), FIELD(sessions), FIELD(configured), FIELD(identified);
    FIELD(repeated), FIELD(damaged), FIELD(misdelivered), FIELD(foreign_bytes), FIELD(inserted), FIELD(bursts_sent), FIELD(bursts_found);
    FIELD(marks), FIELD(marks_echoed), FIELD(marks_cleared), FIELD(clears), FIELD(clears_unasked), FIELD(late_audio_bytes);
    FIELD(turns), FIELD(replies), FIELD(no_reply), FIELD(short_replies), FIELD(reply_lost_ms), FIELD(barges), FIELD(barges_unanswered);
    FIELD(truncates), FIELD(truncates_refused), FIELD(deletes), FIELD(cancels);
    FIELD(wire_errors), FIELD(model_errors), FIELD(stalled_bytes);
    printf("\"sessions_left_open\":%zu,\"first_error\":\"%s\",\"rig_cpu_seconds\":%.4f,\"rig_load\":%.4f}}\n", open_sessions(), first_error, cpu,
           seconds > 0 ? cpu / seconds : 0);
    fflush(stdout);
}

static void parse_options(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (!strcmp(name, "--wait")) {
            options.wait = true;
            continue;
        }
        if (i + 1 >= argc) die("%s needs a value", name);
        const char *value = argv[++i];
        if (!strcmp(name, "--carrier-port")) options.carrier_port = atoi(value);
        else if (!strcmp(name, "--model-port")) options.model_port = atoi(value);
        else if (!strcmp(name, "--path")) options.path = value;
        else if (!strcmp(name, "--calls")) options.calls = atoi(value);
        else if (!strcmp(name, "--seconds")) options.seconds = atof(value);
        else if (!strcmp(name, "--warmup")) options.warmup = atof(value);
        else if (!strcmp(name, "--ramp")) options.ramp = atof(value);
        else if (!strcmp(name, "--barge")) options.barge = atof(value);
        else if (!strcmp(name, "--seed")) options.seed = strtoull(value, NULL, 10);
        else if (!strcmp(name, "--profile") && (!strcmp(value, "echo") || !strcmp(value, "conversation"))) options.conversation = *value == 'c';
        else if (!strcmp(name, "--format") && (!strcmp(value, "pcmu") || !strcmp(value, "pcm24k"))) options.pcm = value[3] != 'u';
        else die("unknown option %s %s", name, value);
    }
    if (options.carrier_port <= 0 || options.model_port <= 0) die("--carrier-port and --model-port are required");
    if (options.calls < 1 || options.calls > MAX_CALLS) die("--calls must be 1 to %d", MAX_CALLS);
    if (!(options.seconds > 0 && options.seconds <= 3600) || !(options.ramp > 0)) die("--seconds must be up to 3600, --ramp positive");
}

int main(int argc, char **argv) {
    struct rlimit files;
    parse_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    if (!getrlimit(RLIMIT_NOFILE, &files)) files.rlim_cur = files.rlim_max, setrlimit(RLIMIT_NOFILE, &files);
    random_state = options.seed * 0x9E3779B97F4A7C15ull + 1;
    memset(unb64, 0, sizeof unb64);
    for (int i = 0; i < 64; i++) unb64[(uint8_t)B64[i]] = (uint8_t)i;
    make_audio(), make_voice();
    calls = calloc((size_t)options.calls, sizeof *calls);
    for (int i = 0; i < options.calls; i++) calls[i].conn.fd = -1;
    if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll: %s", strerror(errno));
    open_timer();
    open_listener();
    announce("listening");
    if (options.wait) watch(&standard_input, 0, EPOLLIN);
    else begin();
    schedule(now() + 1, SECOND, NULL);
    while (phase != DONE) {
        struct epoll_event events[256];
        int n = wait_events(events, 256);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (!c) continue; /* the timer: timers run below */
            if (c->kind == STDIN) {
                char word[64];
                if (read(0, word, sizeof word) <= 0) die("standard input closed before \"go\"");
                epoll_ctl(epoll_fd, EPOLL_CTL_DEL, 0, NULL);
                begin();
            } else if (c->kind == LISTENER) accept_model();
            else {
                if (c->fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(c);
                if (c->fd >= 0 && events[i].events & EPOLLOUT && c->out_length) flush_out(c);
            }
        }
        run_timers();
    }
    report();
    return 0;
}
