/** One-time links to the console: the code of one, as a person pastes it. */
const CODE = /^[\w-]{43}$/;

/** Where a pasted link or code leads on this node; nothing for what is neither. */
export function pathOfLink(pasted: string): string | undefined {
  const text = pasted.trim();
  const code = /[?&]code=([\w-]+)/.exec(text)?.[1] ?? text;
  return CODE.test(code) ? `/console/open?code=${code}` : undefined;
}

/** Whether a page of this address is the console of another machine. */
export function isAway(place: { protocol: string; hostname: string }): boolean {
  const near = /^(localhost|127\.0\.0\.1|\[::1\])$/.test(place.hostname);
  return place.protocol === "https:" && !near;
}
