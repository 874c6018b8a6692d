/** How a node's condition is told, the same everywhere. */
import type { components } from "@/contract/operator.gen";
import { type Health, health } from "@/lib/condition";
import { State } from "./kit";

type S = components["schemas"];
export const StateOf = ({ is }: { is: Health }) => <State is={is} />;
export const NodeState = ({ n, status }: { n: S["TopologyNode"]; status?: S["StatusView"] }) => (
  <State is={health(n, status)} />
);
/** What a node is for, as a glyph beside its word. */
export const roleGlyph = (role: string | null | undefined): string =>
  role === "planner"
    ? "♛"
    : role === "standby-planner"
      ? "♕"
      : role === "field"
        ? "◈"
        : role === "viewer"
          ? "◫"
          : "◻";
