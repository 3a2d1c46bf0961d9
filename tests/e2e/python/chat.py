"""The chat of a front end that isn't JavaScript: python-socketio's asyncio client, against the e2e app and the tidings server.

Environment: E2E_APP_URL and, where it is to be tried too, TIDINGS_URL with TIDINGS_TOKENS, a JSON object of user and token.
"""

import asyncio
import json
import os
import unittest

import socketio

APP_URL = os.environ.get("E2E_APP_URL")
SERVER_URL = os.environ.get("TIDINGS_URL")
DEADLINE_S = 15

TRANSPORTS = {
    "polling": ["polling"],
    "websocket": ["websocket"],
    "upgrade": ["polling", "websocket"],
}


class Person:
    """One client, and all that it was told, in order."""

    def __init__(self, namespace="/", **options):
        self.namespace = namespace
        self.client = socketio.AsyncClient(**{"reconnection": False, **options})
        self.heard = asyncio.Queue()
        self.gone = asyncio.Event()
        self.client.on("*", self._hear, namespace=namespace)
        self.client.on("disconnect", self._go, namespace=namespace)

    async def _hear(self, event, *args):
        await self.heard.put((event, list(args)))

    async def _go(self, *_reason):
        self.gone.set()

    async def enter(self, url, token, transports):
        await self.client.connect(
            url,
            auth={"token": token},
            namespaces=[self.namespace],
            transports=transports,
            wait_timeout=DEADLINE_S,
        )
        return self

    async def ask(self, event, *args):
        return await self.client.call(event, args or None, namespace=self.namespace, timeout=DEADLINE_S)

    async def say(self, event, *args):
        await self.client.emit(event, args or None, namespace=self.namespace)

    async def hears(self):
        return await asyncio.wait_for(self.heard.get(), DEADLINE_S)

    async def leave(self):
        await self.client.disconnect()


@unittest.skipUnless(APP_URL, "E2E_APP_URL names the app")
class ChatInAnApp(unittest.IsolatedAsyncioTestCase):
    async def test_two_people_chat_over_each_transport(self):
        for name, transports in TRANSPORTS.items():
            with self.subTest(name):
                ann = await Person("/auth").enter(APP_URL, "good-ann", transports)
                bob = await Person("/auth").enter(APP_URL, "good-bob", transports)
                room = f"python {name}"
                for person in (ann, bob):
                    self.assertEqual(await person.ask("room:join", room), f"room:{room}")
                identity = await ann.ask("chat:message", {"roomId": room, "content": "Xin chào!"})
                message = {"id": identity, "user": "ann", "roomId": room, "content": "Xin chào!"}
                for person in (ann, bob):
                    self.assertEqual(await person.hears(), ("chat:message", [message]))
                await ann.leave()
                await bob.leave()

    async def test_who_has_no_token_stays_outside(self):
        for name, transports in TRANSPORTS.items():
            with self.subTest(name):
                with self.assertRaises(socketio.exceptions.ConnectionError):
                    await Person("/auth").enter(APP_URL, "nonsense", transports)

    async def test_any_arguments_and_bytes(self):
        for name, transports in TRANSPORTS.items():
            with self.subTest(name):
                ann = await Person().enter(APP_URL, None, transports)
                payload = {"nested": [b"\x00\x01\xff", {"deep": b""}], "text": "é"}
                self.assertEqual(await ann.ask("echo", payload), payload)
                self.assertEqual(await ann.ask("echo", 1, "two", b"three"), (1, "two", b"three"))
                await ann.say("echo", b"without an ack", 2)
                self.assertEqual(await ann.hears(), ("echo", [b"without an ack", 2]))
                await ann.leave()

    async def test_a_thousand_events_in_order(self):
        ann = await Person().enter(APP_URL, None, TRANSPORTS["upgrade"])
        for n in range(1000):
            await ann.say("seq", n)
        self.assertEqual([await ann.hears() for _ in range(1000)], [("seq", [n]) for n in range(1000)])
        await ann.leave()

    async def test_the_server_ends_it(self):
        for name, transports in TRANSPORTS.items():
            with self.subTest(name):
                ann = await Person().enter(APP_URL, None, transports)
                await ann.say("bye", True)
                await asyncio.wait_for(ann.gone.wait(), DEADLINE_S)
                await ann.leave()


@unittest.skipUnless(SERVER_URL, "TIDINGS_URL names the server")
class ChatOnTheServer(unittest.IsolatedAsyncioTestCase):
    tokens = json.loads(os.environ.get("TIDINGS_TOKENS", "{}"))

    async def test_two_people_chat_over_each_transport(self):
        for name, transports in TRANSPORTS.items():
            with self.subTest(name):
                channel = f"open:python {name}"
                ann = await Person().enter(SERVER_URL, self.tokens["ann"], transports)
                bob = await Person().enter(SERVER_URL, self.tokens["bob"], transports)
                self.assertTrue((await ann.ask("subscribe", channel))["ok"])
                answer = await bob.ask("publish", channel, "chat:message", {"content": "Xin chào!"})
                self.assertTrue(answer["ok"], answer)
                while (heard := await ann.hears())[0].startswith("tidings:"):
                    pass
                event, (data, meta, identity) = heard
                self.assertEqual((event, data, identity), ("chat:message", {"content": "Xin chào!"}, answer["id"]))
                self.assertEqual((meta["channel"], meta["user"]), (channel, "bob"))
                await ann.leave()
                await bob.leave()

    async def test_who_has_a_wrong_token_stays_outside(self):
        with self.assertRaises(socketio.exceptions.ConnectionError):
            await Person().enter(SERVER_URL, self.tokens["ann"] + "x", TRANSPORTS["websocket"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
