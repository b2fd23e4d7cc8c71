// SPDX-License-Identifier: Apache-2.0
/**
 * The text of actions whose payload is numbers, as their line of the table says it looks.
 *
 * @module
 */

import type { Action } from "../../types.ts";
import type { TypedLine } from "../action.ts";
import type { ActionForm, FormField } from "../action_line.ts";
import { hex } from "./fields.ts";
import type { PortNames, Scanner } from "./scanner.ts";

type Form = ActionForm<Record<string, number>>;
type Field = FormField<Record<string, number>>;

const U32 = 0xffffffff;
const [CLOSE, COMMA, EQUALS] = [41, 44, 61];

/** Takes a number in parentheses. */
export function scanArgument(s: Scanner, max: number = U32): number {
  s.expect("(");
  const value = s.number(max);
  s.expect(")");
  return value;
}

/** Takes a port, by number or name, in parentheses. */
export function scanPortArgument(s: Scanner): number {
  s.expect("(");
  const no = s.port(")");
  s.expect(")");
  return no;
}

/** Text of an action of this form. */
export function printForm(
  { line }: TypedLine,
  action: Action,
  ports: PortNames | undefined,
): string {
  const form = line.form as Form;
  const values = action as unknown as Readonly<Record<string, number>>;
  const name = line.text;
  switch (form.kind) {
    case "word":
      return name;
    case "call":
      return `${name}()`;
    case "fields":
      return `${name}(${
        form.fields.flatMap((field) => printField(field, values)).join(",")
      })`;
    default: {
      const value = values[form.field] as number;
      if (form.kind === "hex") return `${name}(${hex(value)})`;
      return `${name}(${
        (form.kind === "port" ? ports?.name(value) : undefined) ?? value
      })`;
    }
  }
}

function printField(
  field: Field,
  values: Readonly<Record<string, number>>,
): string[] {
  const value = values[field.field] as number;
  if (field.rare && value === field.default) return [];
  const text = field.hex === undefined
    ? `${value}`
    : field.hex === 0
    ? hex(value)
    : `0x${value.toString(16).padStart(field.hex, "0")}`;
  return [`${field.text ?? field.field}=${text}`];
}

/** Takes what follows the name of an action of this form; the name began at `start`. */
export function scanForm({ type, line }: TypedLine, s: Scanner, start: number): Action {
  const form = line.form as Form;
  switch (form.kind) {
    case "word":
      break;
    case "call":
      s.expect("()");
      break;
    case "fields":
      return { type, ...scanFields(form.fields, s, start) } as Action;
    default: {
      const value = form.kind === "port" ? scanPortArgument(s) : scanArgument(s);
      return { type, [form.field]: value } as unknown as Action;
    }
  }
  return { type } as Action;
}

/** Takes the fields that come, in any order, up to the closing parenthesis. */
function scanFields(
  fields: readonly Field[],
  s: Scanner,
  start: number,
): Record<string, number> {
  const values: Record<string, number> = {};
  s.expect("(");
  while (!s.takeCode(CLOSE)) {
    const at = s.at;
    const word = s.word();
    const found = fields.find(({ field, text }) => (text ?? field) === word);
    if (found === undefined || !s.takeCode(EQUALS)) s.fail("no such field", at);
    if (values[found.field] !== undefined) s.fail("field is given twice", at);
    values[found.field] = s.number(found.max);
    if (!s.takeCode(COMMA) && s.code !== CLOSE) s.fail('expected "," or ")"');
  }
  for (const field of fields) {
    const value = values[field.field] ?? field.default;
    if (value === undefined) {
      s.fail(`field "${field.text ?? field.field}" is missing`, start);
    }
    values[field.field] = value;
  }
  return values;
}
