/** How a node's condition is told, the same everywhere. */
import { type Health, State } from "./kit";

export interface Condition {
  connected: boolean;
  fresh: boolean;
  estop: boolean;
  own: boolean;
}
export function health(n: Condition): Health {
  if (n.estop) return "stopped";
  if (n.own) return "healthy";
  if (!n.connected && !n.fresh) return "offline";
  return n.fresh ? "healthy" : "degraded";
}
export const StateOf = ({ is }: { is: Health }) => <State is={is} />;
