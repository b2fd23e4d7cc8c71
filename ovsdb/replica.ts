// SPDX-License-Identifier: Apache-2.0
/**
 * A copy of the tables that are watched, kept true by what the server tells.
 *
 * @module
 */
import type { Column, Odd } from "./column.ts";
import { OvsdbProtocolError } from "./errors.ts";
import type { Json } from "./json.ts";
import { columnNames, columnOf, type Row, type TableName, tables } from "./schema.ts";

type AnyRow = Record<string, unknown> & { uuid: string };
type JsonObject = { readonly [name: string]: Json };

function object(json: Json | undefined, what: string): JsonObject {
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new OvsdbProtocolError(`${what} is no object`);
  }
  return json as JsonObject;
}

/** Tables with their rows. */
export class Replica {
  readonly #tables = new Map<TableName, Map<string, AnyRow>>();

  readonly #odd: ((text: string) => void) | undefined;

  /** Begins empty. `odd` is told of values that cannot be read, which count as not being there. */
  constructor(odd?: (text: string) => void) {
    this.#odd = odd;
    this.clear();
  }

  /** Forgets all rows. */
  clear(): void {
    for (const name of Object.keys(tables) as TableName[]) {
      this.#tables.set(name, new Map());
    }
  }

  /** All rows of a table. They are not changed any more: a change makes a new one. */
  rows<T extends TableName>(table: T): IterableIterator<Row<T>> {
    return (this.#tables.get(table) as unknown as Map<string, Row<T>>).values();
  }

  /** A row by its number. */
  get<T extends TableName>(table: T, uuid: string): Row<T> | undefined {
    return (this.#tables.get(table) as unknown as Map<string, Row<T>>).get(uuid);
  }

  /** The rows of some numbers, as far as they are there. */
  all<T extends TableName>(table: T, uuids: Iterable<string>): Row<T>[] {
    return [...uuids].flatMap((uuid) => this.get(table, uuid) ?? []);
  }

  /**
   * Takes changes in, in the form of "update2": initial, insert, modify, delete. Tables and columns
   * that are not watched are passed over, and so are values that cannot be read. Throws
   * {@linkcode OvsdbProtocolError} for what names no rows; some of the changes may have been taken
   * in then.
   */
  apply(updates: Json): void {
    for (const [name, changes] of Object.entries(object(updates, "an update"))) {
      const rows = this.#tables.get(name as TableName);
      if (rows === undefined) continue;
      for (const [uuid, change] of Object.entries(object(changes, name))) {
        this.#change(name as TableName, rows, uuid, object(change, `a row of ${name}`));
      }
    }
  }

  #change(
    table: TableName,
    rows: Map<string, AnyRow>,
    uuid: string,
    change: JsonObject,
  ): void {
    if ("delete" in change) return void rows.delete(uuid);
    const made = change["initial"] ?? change["insert"];
    if (made !== undefined) {
      const row: AnyRow = { uuid };
      for (const name of columnNames(table)) row[name] = columnOf(table, name)?.usual;
      const values = object(made, "a row");
      // Its name first: it tells which row it is that has what cannot be read.
      const all = "name" in values ? { name: values["name"], ...values } : values;
      for (const [name, value] of Object.entries(all)) {
        row[name] = this.#read(
          table,
          row,
          name,
          (column, odd) => column.read(value, odd),
        );
      }
      rows.set(uuid, row);
      return;
    }
    const before = rows.get(uuid);
    if (before === undefined) throw new OvsdbProtocolError(`${table} has no row ${uuid}`);
    const row = { ...before };
    for (const [name, value] of Object.entries(object(change["modify"], "a change"))) {
      row[name] = this.#read(
        table,
        row,
        name,
        (column, odd) => column.change(before[name], value, odd),
      );
    }
    rows.set(uuid, row);
  }

  /** A column's value; the usual one where what is there is none that it can have. */
  #read(
    table: TableName,
    row: AnyRow,
    name: string,
    read: (column: Column<unknown>, odd: Odd) => unknown,
  ): unknown {
    const column = columnOf(table, name);
    if (column === undefined) return row[name];
    const odd: Odd = ({ message }) =>
      this.#odd?.(`${table} ${row["name"] || row.uuid}, column ${name}: ${message}`);
    try {
      return read(column, odd);
    } catch (error) {
      if (!(error instanceof OvsdbProtocolError)) throw error;
      odd(error);
      return column.usual;
    }
  }
}
