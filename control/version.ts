// SPDX-License-Identifier: Apache-2.0
/**
 * The version that tools tell.
 *
 * @module
 */

/** Version of this release; a test holds it to deno.json's. */
export const version = "0.1.0";
