"""A chat's back end in Python behind Tidings: it decides who is in which room, saves each message, and only then has it sent.

    pip install -r requirements.txt
    export JWT_SECRET=… TIDINGS_HOOK_SECRET=… TIDINGS_API_KEY=…      # `openssl rand -hex 32` makes each
    uvicorn main:app --port 3000
    tidings serve --config tidings.toml

`tidings token --config tidings.toml --user ann --expires 1h` makes a token for `io(url, { auth: { token } })`.
"""

import hashlib
import hmac
import json
import os
import re
import time

import httpx
from fastapi import FastAPI, HTTPException, Request

HOOK_SECRET = os.environ["TIDINGS_HOOK_SECRET"].encode()
API_KEY = os.environ["TIDINGS_API_KEY"]
TIDINGS_URL = os.environ.get("TIDINGS_URL", "http://127.0.0.1:8080")

# What a database would hold.
members = {"room:1": ["ann", "bob"], "room:2": ["bob"]}
messages = {}  # by the id of the call that brought them


def is_member(user, room):
    return isinstance(room, str) and user in members.get(room, [])


def no(code, message):
    return {"error": {"code": code, "message": message}}


# What Tidings asks and tells, and the answers.


def connect(call):
    """Who has a good token may come in, and is in all of the own rooms at once."""
    return {"subscribe": [room for room in members if is_member(call["user"], room)]}


def subscribe(call):
    return {"allow": all(is_member(call["user"], room) for room in call["channels"])}


def event(call):
    if call["event"] != "chat:message":
        return no("unknown_event", f"no {call['event']} here")
    data = call["data"] if isinstance(call["data"], dict) else {}
    return say(call["id"], call["user"], data)


def say(call_id, user, data):
    room, text = data.get("room"), data.get("text")
    if not is_member(user, room):
        return no("forbidden", "you are not in this room")
    if not isinstance(text, str) or not text:
        return no("bad_request", "a message has a text")
    # A call that is made again has the same id: then the message is there already.
    message = messages.setdefault(call_id, {"id": len(messages) + 1, "room": room, "from": user, "text": text})
    notice = {"event": "notification", "data": {"title": f"{user} wrote in {room}"}}
    return {
        "reply": {"id": message["id"]},
        "publish": [
            {"channel": room, "event": "chat:message", "data": message, "key": f"message:{message['id']}"},
            *({"channel": f"user:{member}", **notice} for member in members[room] if member != user),
        ],
    }


def disconnect(call):
    print(f"{call['user']} was here for {call['lasted_ms']} ms: {call['reason']}", flush=True)
    return {}


HOOKS = {"connect": connect, "subscribe": subscribe, "event": event, "disconnect": disconnect}


def is_signed(header, body):
    """Whether Tidings has sent this, and just now."""
    match = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", header)
    if not match or abs(time.time() - int(match[1])) > 300:
        return False
    expected = hmac.new(HOOK_SECRET, match[1].encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(match[2], expected)


app = FastAPI()


@app.post("/tidings")
async def hook(request: Request):
    # The signature is over the bytes as they came, so that they are not parsed before it is checked.
    body = await request.body()
    if not is_signed(request.headers.get("tidings-signature", ""), body):
        raise HTTPException(400, "not signed")
    call = json.loads(body)
    return HOOKS[call["hook"]](call)


@app.post("/users/{user}/notifications")
async def notify(user: str, request: Request):
    """What the back end has to say by itself goes through the server API. Who may call this is the app's to check."""
    draft = {"channel": f"user:{user}", "event": "notification", "data": await request.json()}
    async with httpx.AsyncClient() as client:
        answer = await client.post(
            f"{TIDINGS_URL}/api/v1/publish", json=draft, headers={"authorization": f"Bearer {API_KEY}"}
        )
    return answer.json()
