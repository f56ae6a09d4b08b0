"""The raw relay: the least a Python process can do between a Twilio media stream and a Realtime session.

picows on both sides, uvloop, a byte scan instead of a parser, base64 text copied untouched. It records nothing,
measures nothing, checks nothing, batches nothing and handles no fault: what a call costs here is the price of
its 200 websocket messages per second, and the reference a real gateway's price is divided by.
Run as `python -m benchmarks.relay --port 8080 --realtime-url ws://127.0.0.1:9090/v1/realtime`.
"""

import argparse
import asyncio
import json

import uvloop
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_connect,
    ws_create_server,
)

SESSION_UPDATE = json.dumps(
    {
        "type": "session.update",
        "session": {
            "type": "realtime",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcmu"},
                    "turn_detection": {
                        "type": "server_vad",
                        "create_response": True,
                        "interrupt_response": True,
                    },
                },
                "output": {"format": {"type": "audio/pcmu"}},
            },
        },
    }
).encode()


class ModelSide(WSListener):
    """One Realtime socket; the model's events go to the caller as they come."""

    def __init__(self, caller: "CallerSide") -> None:
        self._caller = caller

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, SESSION_UPDATE)
        self._caller.model_connected(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is not WSMsgType.TEXT:
            if frame.msg_type is WSMsgType.CLOSE:
                transport.disconnect()
            return
        message = frame.get_payload_as_bytes()
        start = message.find(b'"delta":"')
        if start >= 0 and message.startswith(b'{"type":"response.output_audio.delta"'):
            start += 9
            self._caller.play(message[start : message.index(b'"', start)])
        elif message.startswith(b'{"type":"response.output_audio.done"'):
            self._caller.mark()
        elif message.startswith(b'{"type":"input_audio_buffer.speech_started"'):
            self._caller.clear()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._caller.model_lost()


class CallerSide(WSListener):
    """One media socket; drives its own model socket, drops the audio that comes before it is open."""

    def __init__(self, realtime_url: str) -> None:
        self._realtime_url = realtime_url
        self._carrier: WSTransport | None = None
        self._model: WSTransport | None = None
        self._media = self._clear = self._mark = b""
        self._connecting: asyncio.Task[None] | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._carrier = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is not WSMsgType.TEXT:
            if frame.msg_type is WSMsgType.CLOSE:
                transport.disconnect()
            return
        message = frame.get_payload_as_bytes()
        start = message.find(b'"payload":"')
        if start >= 0:
            if self._model is not None:
                start += 11
                payload = message[start : message.index(b'"', start)]
                self._model.send(
                    WSMsgType.TEXT, b'{"type":"input_audio_buffer.append","audio":"' + payload + b'"}'
                )
        elif message.startswith(b'{"event":"start"'):
            self._started(json.loads(message)["streamSid"].encode())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._carrier = None
        if self._connecting is not None:
            self._connecting.cancel()
        if self._model is not None:
            self._model.disconnect()

    def _started(self, stream: bytes) -> None:
        self._media = b'{"event":"media","streamSid":"' + stream + b'","media":{"payload":"'
        self._clear = b'{"event":"clear","streamSid":"' + stream + b'"}'
        self._mark = b'{"event":"mark","streamSid":"' + stream + b'","mark":{"name":"done"}}'
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        await ws_connect(lambda: ModelSide(self), self._realtime_url)

    def model_connected(self, transport: WSTransport) -> None:
        self._model = transport

    def model_lost(self) -> None:
        self._model = None
        if self._carrier is not None:
            self._carrier.disconnect()

    def play(self, payload: bytes) -> None:
        if self._carrier is not None:
            self._carrier.send(WSMsgType.TEXT, self._media + payload + b'"}}')

    def mark(self) -> None:
        if self._carrier is not None:
            self._carrier.send(WSMsgType.TEXT, self._mark)

    def clear(self) -> None:
        if self._carrier is not None:
            self._carrier.send(WSMsgType.TEXT, self._clear)


async def serve(port: int, realtime_url: str) -> None:
    """Serve on 127.0.0.1 until killed; anything but `/media/...` is answered 404."""

    def accept(request: WSUpgradeRequest) -> WSListener | None:
        return CallerSide(realtime_url) if request.path.startswith(b"/media/") else None

    server = await ws_create_server(accept, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--realtime-url", required=True)
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.realtime_url))


if __name__ == "__main__":
    main()
