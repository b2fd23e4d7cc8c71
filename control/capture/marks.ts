// SPDX-License-Identifier: Apache-2.0
/**
 * The marks of captures: actions in front of a flow's own that send a copy up.
 *
 * A datapath of the kernel keeps its flows when the program that marked them is killed. So a mark
 * says which process it is of, and the next process to come removes the marks of dead ones.
 *
 * @module
 */
import { readSystemFile } from "../../ffi/system_file.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { DatapathError } from "../../providers/errors.ts";
import type { Flow } from "../../providers/flow.ts";
import type { Action } from "../../providers/types.ts";

/** What marks begin with, to be told from a program's own actions: "upcap". */
const magic = [0x75, 0x70, 0x63, 0x61, 0x70] as const;
/** Magic, number of the capture, process id, and time at which the process started. */
const markSize = 16;
const pidAt = 6;
const startAt = 10;

let serial = 0;
/** Marks of this process that are in use, as text. */
const living = new Set<string>();

/** The userdata of a new capture of this process. */
export function newMark(): Uint8Array {
  const mark = new Uint8Array(markSize);
  const view = new DataView(mark.buffer);
  mark.set([...magic, ++serial & 0xff]);
  view.setUint32(pidAt, Deno.pid);
  putStart(view, startOf("self") ?? 0);
  living.add(`${mark}`);
  return mark;
}

/** Says that the capture of a mark is over. */
export function endMark(mark: Uint8Array): void {
  living.delete(`${mark}`);
}

function putStart(view: DataView, ticks: number): void {
  view.setUint16(startAt, Math.floor(ticks / 2 ** 32) & 0xffff);
  view.setUint32(startAt + 2, ticks >>> 0);
}

/** When a process started, in ticks since the machine did; undefined if it has ended. */
function startOf(pid: number | "self"): number | undefined {
  // Behind the name in brackets: the state, and as 20th the time (proc(5)).
  const [, rest] = /\) ([^]*)$/.exec(readSystemFile(`/proc/${pid}/stat`) ?? "") ?? [];
  const words = rest?.split(" ") ?? [];
  return words.length < 20 || words[0] === "Z" || words[0] === "X"
    ? undefined
    : Number(words[19]);
}

/** Whether the capture that a mark is of may still be at work. */
function isAlive(mark: Uint8Array): boolean {
  const view = new DataView(mark.buffer, mark.byteOffset, mark.length);
  const pid = view.getUint32(pidAt);
  const expected = view.getUint16(startAt) * 2 ** 32 + view.getUint32(startAt + 2);
  if (startOf(pid) !== expected) return false;
  return pid !== Deno.pid || living.has(`${mark}`);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Whether userdata is that of a capture: this one, or any. */
export function isMark(userdata: Uint8Array | undefined, mark?: Uint8Array): boolean {
  if (userdata === undefined) return false;
  if (mark !== undefined) return sameBytes(userdata, mark);
  return userdata.length === markSize && magic.every((byte, i) => userdata[i] === byte);
}

/** The marks in front of a flow's actions, and the flow's own. */
export function splitMarks(
  actions: readonly Action[],
): { readonly marks: readonly Action[]; readonly own: readonly Action[] } {
  const at = actions.findIndex((action) =>
    !(action.type === "userspace" && isMark(action.userdata))
  );
  const count = at < 0 ? actions.length : at;
  return { marks: actions.slice(0, count), own: actions.slice(count) };
}

/** Whether some of a flow's marks are of this capture. */
export function hasMark({ actions = [] }: Flow, mark: Uint8Array): boolean {
  return splitMarks(actions).marks.some((action) =>
    action.type === "userspace" && isMark(action.userdata, mark)
  );
}

/** Gives a flow other actions. Does nothing if it has gone. */
export function changeActions(
  dp: Datapath,
  { raw }: Flow,
  actions: readonly Action[],
): void {
  const { key = new Uint8Array(), mask, ufid } = raw;
  try {
    dp.flows.put({
      key,
      actions,
      create: false,
      modify: true,
      ...(mask !== undefined && { mask }),
      ...(ufid !== undefined && { ufid }),
    });
  } catch (error) {
    // The program has deleted it meanwhile.
    if (!(error instanceof DatapathError) || error.code !== "ENOENT") throw error;
  }
}

/**
 * Takes marks from the flows of a datapath: those of one capture, or of all that have ended. All
 * flows are done, whatever becomes of one; then the first failure is thrown. Returns how many marks
 * of others are left.
 */
export function removeMarks(dp: Datapath, mark?: Uint8Array): number {
  let left = 0;
  let failure: unknown;
  for (const flow of [...dp.flows.dump()]) {
    const { marks, own } = splitMarks(flow.actions ?? []);
    const kept = marks.filter((
      { userdata = new Uint8Array() }: Action & UserdataHolder,
    ) => mark === undefined ? isAlive(userdata) : !isMark(userdata, mark));
    left += kept.length;
    if (kept.length === marks.length) continue;
    try {
      changeActions(dp, flow, [...kept, ...own]);
    } catch (error) {
      failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
  return left;
}

interface UserdataHolder {
  readonly userdata?: Uint8Array;
}
