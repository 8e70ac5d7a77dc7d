/** `*` and `?`, in linear time per star: a pattern from a user must not hang the search. */
export function matchesGlob(name: string, pattern: string): boolean {
  const text = Array.from(name);
  const glob = Array.from(pattern);
  let at = 0;
  let star = -1;
  let resume = 0;
  let next = 0;
  while (at < text.length) {
    if (glob[next] === "*") {
      star = next++;
      resume = at;
    } else if (next < glob.length && (glob[next] === "?" || glob[next] === text[at])) {
      next++;
      at++;
    } else if (star >= 0) {
      next = star + 1;
      at = ++resume;
    } else return false;
  }
  while (glob[next] === "*") next++;
  return next === glob.length;
}
