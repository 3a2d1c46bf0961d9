// Where Tidings differs from npm's server on purpose: the streams of a transcript that differ, as each side has them, and the
// heading of docs/compat.md that says why. A difference that isn't here fails the comparison; so does one that is here and isn't.
// `transports` narrows an entry; without it, it holds on all.
export const knownDifferences = [
  {
    scenario: "an ack whose socket is gone",
    section: "Acks of a socket that is gone",
    stream: "notes",
    reference: [{ released: { released: 1 } }, { "acks of / on the wire": 1 }],
    tidings: [{ released: { released: 1 } }, { "acks of / on the wire": 0 }],
  },
];
