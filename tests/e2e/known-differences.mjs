// Where Tidings differs from npm's server on purpose: the streams of a transcript that differ, as each side has them, and the
// heading of docs/compat.md that says why. A difference that isn't here fails the comparison; so does one that is here and isn't.
// `transports` narrows an entry; without it, it holds on all.
const own = "<c1>";
const slashRoom = (rooms, received) => ({
  client: [
    { connect: own },
    { ack: "join", args: [rooms] },
    ...received,
    { disconnect: "io client disconnect" },
  ],
  server: [
    { type: "connection", nsp: "/", id: own, rooms: [own] },
    { type: "any", nsp: "/", id: own, event: "join", args: 1 },
    { type: "any", nsp: "/", id: own, event: "echo", args: 1 },
    { type: "disconnecting", nsp: "/", id: own, reason: "client namespace disconnect", rooms },
    { type: "disconnect", nsp: "/", id: own, reason: "client namespace disconnect" },
  ],
});
const entered = slashRoom(["/admin", own], [{ event: "to a room", args: [] }]);
const refused = slashRoom([own], []);

export const knownDifferences = [
  {
    scenario: "a room whose name begins with a slash",
    section: "Room names that begin with a slash",
    stream: "clients.c1",
    reference: entered.client,
    tidings: refused.client,
  },
  {
    scenario: "a room whose name begins with a slash",
    section: "Room names that begin with a slash",
    stream: "server.c1",
    reference: entered.server,
    tidings: refused.server,
  },
  {
    scenario: "an ack whose socket is gone",
    section: "Acks of a socket that is gone",
    stream: "notes",
    reference: [{ released: { released: 1 } }, { "acks of / on the wire": 1 }],
    tidings: [{ released: { released: 1 } }, { "acks of / on the wire": 0 }],
  },
  {
    scenario: "event middleware refuses an event with an ack",
    section: "Handler errors are acknowledgements",
    stream: "clients.c1",
    reference: [{ connect: own }, { disconnect: "io client disconnect" }],
    tidings: [
      { connect: own },
      {
        ack: "forbidden:event",
        args: [{ ok: false, code: "forbidden", message: "event refused", data: { code: "forbidden" } }],
      },
      { disconnect: "io client disconnect" },
    ],
  },
  {
    scenario: "connect middleware: who may enter",
    section: "`connect_error` has data",
    stream: "clients.missing",
    reference: [{ connect_error: "token missing" }],
    tidings: [{ connect_error: "token missing", data: { code: "bad_request" } }],
  },
];
