/**
 * Request line and headers, up to the empty line.
 * @param path with its query
 * @throws TypeError for a path or header that would not stay on its line: a bug of the caller
 */
export function requestText(method: "GET" | "PUT", path: string, headers: Readonly<Record<string, string>>): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  const text = [`${method} ${path} HTTP/1.1`, ...lines, "", ""];
  if (/\s/.test(path) || text.some((line) => /[\0-\x08\n-\x1f\x7f\u0100-\uffff]/.test(line))) {
    throw new TypeError("Cannot send a request: its path or a header holds control characters");
  }
  return text.join("\r\n");
}
