// SPDX-License-Identifier: Apache-2.0
/**
 * Files on a command line as URLs.
 *
 * @module
 */

/**
 * The URL of a file, which may be relative to the working directory; URLs of files are taken too.
 */
export function toFileUrl(file: string): URL {
  if (file.startsWith("file:")) return new URL(file);
  const url = new URL("file:///");
  url.pathname = file.startsWith("/") ? file : `${Deno.cwd()}/${file}`;
  return url;
}
