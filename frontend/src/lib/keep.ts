/** What this browser remembers of looks and places. Never needed: where storage is refused, nothing is kept. */
export function recall<T>(key: string, otherwise: T): T {
  try {
    const text = localStorage.getItem(`clawmesh.${key}`);
    return text === null ? otherwise : (JSON.parse(text) as T);
  } catch {
    return otherwise;
  }
}
export function keep(key: string, what: unknown): void {
  try {
    localStorage.setItem(`clawmesh.${key}`, JSON.stringify(what));
  } catch {
    // Private windows refuse; it then lasts as long as the page.
  }
}
