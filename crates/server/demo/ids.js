// Event ids, `<epoch>-<seq>`. Within an epoch the larger one is later; of two epochs only the server knows.

const ID = /^([0-9a-z]{8})-(0|[1-9][0-9]{0,15})$/;

export function epochOf(id) {
  return ID.exec(id)?.[1] ?? "";
}

/** The number alone, which is what one tells two ids on the page apart by. */
export function seqOf(id) {
  return Number(ID.exec(id)?.[2] ?? NaN);
}

/** Whether both are of one epoch, and `id` is the later one. */
export function isAfter(id, other) {
  return epochOf(id) !== "" && epochOf(id) === epochOf(other) && seqOf(id) > seqOf(other);
}

/** Whether who has read to `id` has read `target`, too. */
export function hasReached(id, target) {
  return id === target || isAfter(id, target);
}
