// SPDX-License-Identifier: Apache-2.0
/**
 * Changes of rows that hold together or not at all.
 *
 * @module
 */
import { OvsdbError } from "./errors.ts";
import type { Json } from "./json.ts";
import { columnOf, type TableName, type Values } from "./schema.ts";

/** A transaction that is being written. */
export class Transaction {
  readonly #operations: Json[] = [];
  #lastName = 0;

  /** Whether nothing is in it. */
  get isEmpty(): boolean {
    return this.#operations.length === 0;
  }

  /** Its operations, as the method `transact` has them. */
  get operations(): readonly Json[] {
    return this.#operations;
  }

  /** Changes columns of a row. */
  update<T extends TableName>(table: T, uuid: string, values: Values<T>): this {
    this.#operations.push({
      op: "update",
      table,
      where: [["_uuid", "==", ["uuid", uuid]]],
      row: rowOf(table, values),
    });
    return this;
  }

  /** Makes a row; what is returned names it within this transaction. */
  insert<T extends TableName>(table: T, values: Values<T>): string {
    const name = `row${++this.#lastName}`;
    this.#operations.push({
      op: "insert",
      table,
      row: rowOf(table, values),
      "uuid-name": name,
    });
    return name;
  }

  /** Deletes a row. */
  delete(table: TableName, uuid: string): this {
    const where: Json = [["_uuid", "==", ["uuid", uuid]]];
    this.#operations.push({ op: "delete", table, where });
    return this;
  }

  /** Says in the server's log what it is for. */
  comment(text: string): this {
    this.#operations.push({ op: "comment", comment: text });
    return this;
  }
}

function rowOf<T extends TableName>(table: T, values: Values<T>): Json {
  const row: Record<string, Json> = {};
  for (const [name, value] of Object.entries(values)) {
    const column = columnOf(table, name);
    if (column === undefined) throw new TypeError(`${table} has no column ${name}`);
    row[name] = column.write(value);
  }
  return row;
}

/** Throws what an answer to a transaction says that went wrong; of several, the first. */
export function checkResults(results: Json): void {
  if (!Array.isArray(results)) throw OvsdbError.of("transact", results);
  for (const result of results as readonly Json[]) {
    if (result === null || typeof result !== "object") continue;
    if ("error" in result) throw OvsdbError.of("transact", result);
  }
}
