/** Where nodes stand: stable between updates, because it depends on ids alone; own node in the middle. */
export interface Spot {
  id: string;
  x: number;
  y: number;
}
export function layout(ids: string[], own: string | undefined): Spot[] {
  const rest = ids.filter((id) => id !== own).sort();
  const spots: Spot[] = own && ids.includes(own) ? [{ id: own, x: 0, y: 0 }] : [];
  let ring = 0;
  let placed = 0;
  while (placed < rest.length) {
    ring += 1;
    const room = ring * 8;
    const here = rest.slice(placed, placed + room);
    const radius = ring * 380;
    here.forEach((id, i) => {
      const angle = (2 * Math.PI * i) / here.length + ring * 0.3;
      spots.push({
        id,
        x: Math.round(radius * Math.cos(angle)),
        y: Math.round(radius * 0.62 * Math.sin(angle)),
      });
    });
    placed += here.length;
  }
  return spots;
}
