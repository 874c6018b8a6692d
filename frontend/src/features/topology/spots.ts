/** Where nodes stand on the plane of the graph. */

export interface Spot {
  x: number;
  y: number;
}
export type Spots = ReadonlyMap<string, Spot>;
