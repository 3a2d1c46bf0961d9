// What the page makes of an event in a room: a chat message, or something else that was published there.

/**
 * The message of an event, as the transcript takes it; none for what isn't meant to be read. `user` is the page's own.
 * Nothing is known of `data`: anybody may publish anything.
 */
export function messageOf({ id, event, data, time, user = "server" }, own) {
  if (event === "typing") return undefined;
  const isMessage = event === "message";
  const words = typeof data === "string" ? data : data?.text;
  const nonce = isMessage && typeof data?.nonce === "string" ? data.nonce : undefined;
  const json = JSON.stringify(data) ?? "";
  const text = isMessage ? (typeof words === "string" ? words : json) : `${event} ${json}`;
  return { id, user, time, text, nonce, raw: !isMessage, mine: user === own };
}
