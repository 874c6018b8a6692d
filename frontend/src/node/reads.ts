/** Every read of the node as a hook. Live ones are patched by the stream; the rest poll gently. */
import { keepPreviousData, QueryClient, useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { heardTime, nodeNow } from "@/lib/clock";
import { inWindow } from "@/platform/desktop";
import { load as loadKey } from "@/platform/key";
import { isSubscribed } from "@/platform/push";
import * as N from "./client";
import { hearing, notOlder, patchProposals } from "./patch";

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      retry: (n, error) => n < 2 && error instanceof N.Refused && error.status === 0,
      staleTime: 1_000,
      networkMode: "always",
    },
    mutations: { networkMode: "always" },
  },
});

function read<P extends N.Path<"get">>(
  key: string,
  path: P,
  every?: number,
  ...[asked]: N.Maybe<N.Asked<P>>
) {
  const queryFn = () => N.get(path, ...([asked] as N.Maybe<N.Asked<P>>));
  return { queryKey: [key, N.pathOf(path, asked)], queryFn, refetchInterval: every };
}

export const useSession = () =>
  useQuery({
    queryKey: ["session"],
    queryFn: async () => {
      const session = await N.get("/session");
      N.setCsrf(session.csrf);
      return session;
    },
    refetchInterval: 60_000,
  });
export const useSessions = (enabled: boolean) =>
  useQuery({ ...read("sessions", "/sessions", 10_000), enabled });
export const usePrograms = () => useQuery(read("programs", "/mcp/clients", 10_000));
export const useGateways = () => useQuery(read("gateways", "/gateways", 3_000));
/** It listens on the network for a moment: asked once, while somebody adds one. */
export const useGatewaysFound = () => useQuery({ ...read("found", "/gateways/found"), staleTime: 30_000 });
/** What nodes say that they can do. */
export const useAble = () => useQuery(read("abilities", "/abilities", 3_000));
export const useRules = (enabled: boolean) => useQuery({ ...read("routing", "/routing", 10_000), enabled });
/** A page of messages; while another is read, the one before stays. */
export const useMessages = (query: N.Query<"/messages">, enabled: boolean) =>
  useQuery({
    ...read("messages", "/messages", 2_000, { query }),
    enabled,
    placeholderData: keepPreviousData,
  });
/** One message, often while something may happen to it. */
export const useMessage = (id: string | undefined) =>
  useQuery({
    ...read("messages", "/messages/{id}", undefined, { id: id ?? "" }),
    enabled: Boolean(id),
    refetchInterval: (q) => (q.state.data?.endedAt ? 10_000 : 1_000),
  });
/** Whether this browser hears by push; the window has the system's own notifications instead. */
export const usePush = () => useQuery({ ...read("push", "/push", 10_000), enabled: !inWindow });
export const useSubscribed = () =>
  useQuery({
    queryKey: ["subscribed"],
    enabled: !inWindow,
    queryFn: () => isSubscribed().catch(() => false),
  });
export const useStatus = () => useQuery(read("status", "/status", 5_000));
export const useEstop = () => useQuery(read("estop", "/estop", 5_000));
export const useTopology = () =>
  useQuery({
    queryKey: ["topology"],
    queryFn: async () => {
      const asked = performance.now();
      const top = await N.get("/topology");
      heardTime(top.at, performance.now() - asked);
      return top;
    },
    refetchInterval: 3_000,
  });
export const usePeers = () => useQuery(read("peers", "/peers", 5_000));
export const useWorld = () => useQuery(read("world", "/world", 2_000));
export const useEvents = () =>
  useQuery({
    queryKey: ["events"],
    queryFn: () => N.get("/events", { query: { limit: 200 } }),
    staleTime: 30_000,
  });
export const useProposals = () =>
  useQuery({
    queryKey: ["proposals"],
    queryFn: async () => {
      // What the stream brings while this read is under way may be newer than what is read.
      const meanwhile = hearing();
      try {
        const list = await N.get("/proposals", { query: { all: true } });
        const known = queries.getQueryData<N.Proposal[]>(["proposals"]) ?? [];
        return patchProposals(notOlder(list, known), meanwhile.heard);
      } finally {
        meanwhile.end();
      }
    },
    // To compare thousands of them to the last word takes longer than to show them again.
    structuralSharing: false,
    refetchInterval: 30_000,
  });
export const useTrace = (id: string | undefined, every: number | undefined = 5_000) =>
  useQuery({
    ...read("trace", "/proposals/{id}/trace", every, { id: id ?? "" }),
    enabled: Boolean(id),
  });
export const useFrames = (query: N.Query<"/frames">, every: number | undefined) =>
  useQuery(read("frames", "/frames", every, { query }));
export const SERIES_POINTS = 600;
/** A metric over a span. Without an end it follows: each read asks for the span up to now. */
export const series = (metric: string, range: number, to: number | undefined, points: number) => {
  const end = to ?? Math.round(nodeNow());
  return N.get("/series", { query: { metric, points, from: end - range, to } });
};
export const useSeries = (metric: string, range: number, to: number | undefined) =>
  useQuery({
    queryKey: ["series", metric, range, to ?? "now"],
    queryFn: () => series(metric, range, to, SERIES_POINTS),
    // A day is not read anew every two seconds: a pixel of it is minutes.
    refetchInterval: to ? undefined : Math.max(2_000, range / 1_000),
    placeholderData: (old) => (old?.metric === metric ? old : undefined),
  });
const SPARK_MS = 15 * 60_000;
/** The last quarter of an hour of one metric of one node, for a small line beside its value. */
export const useSpark = (metric: string, origin: string, zone: string | null | undefined) =>
  useQuery({
    queryKey: ["spark", metric, origin, zone],
    queryFn: async () => {
      const to = Math.round(nodeNow());
      const query = { metric, origin, zone: zone ?? undefined, points: 48, from: to - SPARK_MS };
      const s = await N.get("/series", { query });
      return { points: s.lines[0]?.points ?? [], from: to - SPARK_MS, to };
    },
    refetchInterval: 15_000,
  });
export const useModels = () => useQuery(read("models", "/models", 5_000));
/** The names under which keys of providers are kept; a key itself never comes back. */
export const useCredentials = () => useQuery(read("credentials", "/credentials"));
/** The planner itself, more often than the status tells of it. */
export const usePlanner = () => useQuery(read("planner", "/planner", 2_000));
/** The questions that were answered last, newest first. */
export const useAnswered = () => useQuery(read("answered", "/planner/answered", 10_000));
/** The alerts that stand, with who answered. */
export const useAlerts = () => useQuery(read("alerts", "/alerts", 3_000));
/** Alerts, newest first, those that are over too. */
export const useAlertHistory = (on: boolean) =>
  useQuery({ ...read("alertHistory", "/alerts/history", 10_000, { query: { limit: 50 } }), enabled: on });
/** One alert, also one that is older than the list. */
export const useAlert = (id: string | undefined) =>
  useQuery({
    ...read("alerts", "/alerts/{id}", undefined, { id: id ?? "" }),
    enabled: id !== undefined,
    retry: false,
  });
export const useNames = () => useQuery(read("names", "/names"));
export const useActuators = () => useQuery(read("actuators", "/actuators", 3_000));
/** The devices of this node's configuration. */
export const useDevices = () => useQuery(read("devices", "/devices", 3_000));
/** Standing approvals of this executor and of those that can be asked, and what could be approved ahead of time. */
export const useStanding = (every = 10_000) => useQuery(read("approvals", "/approvals", every));
/** Who holds a held action that runs; an error once it has ended. */
export const useHeld = (id: string) =>
  useQuery({ ...read("held", "/proposals/{id}/hold", 1_000, { id }), retry: false });
export const useTwin = () => useQuery(read("twin", "/twin", 5_000));
/**
 * A plan as the address of an image: never markup of this page. The window has no address for it, so
 * there it travels as text.
 */
export const usePlan = (path: string): { src?: string; error: boolean } => {
  const carried = useQuery({
    queryKey: ["plan", path],
    enabled: inWindow,
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: async () => `data:image/svg+xml;charset=utf-8,${encodeURIComponent(await N.readText(path))}`,
  });
  return inWindow ? { src: carried.data, error: carried.isError } : { src: N.ROOT + path, error: false };
};
export const useFrame = (id: string | undefined) =>
  useQuery({ ...read("frame", "/frames/{id}", undefined, { id: id ?? "" }), enabled: Boolean(id) });
export const usePolicyTests = () => useQuery(read("policyTests", "/policy/tests"));
export const useMeshes = () => useQuery(read("meshes", "/meshes", 5_000));
export const usePairing = (every: number) => useQuery(read("pairing", "/pairing", every));
export const useTrust = (every?: number) => useQuery(read("trust", "/trust", every));
/** What presets and grants can do at worst; it changes with the program alone. */
export const useGrantTable = () =>
  useQuery({ ...read("grants", "/grants"), staleTime: Number.POSITIVE_INFINITY });
/** What each device offers, and what of it does not count. */
export const useOfferings = () => useQuery(read("nodes", "/nodes", 5_000));
export const useOperators = () => useQuery(read("operators", "/operators"));
export const useIssuers = () => useQuery(read("issuers", "/operators/issuers", 10_000));
export const useKeysWaiting = (on: boolean) =>
  useQuery({ ...read("keysWaiting", "/operators/requests", 3_000), enabled: on });
/** The key that was made in this browser, if one was; the window has the system's keychain instead. */
export const useOwnKey = () =>
  useQuery({
    queryKey: ["ownKey"],
    enabled: !inWindow,
    queryFn: () => loadKey().catch(() => null),
    staleTime: Number.POSITIVE_INFINITY,
  });
export const usePolicy = () => useQuery(read("policy", "/policy"));
export const useAudit = (since: number | undefined, limit: number) =>
  useQuery(read("audit", "/audit", since === undefined ? 10_000 : undefined, { query: { since, limit } }));
export const useChecks = (p: N.Proposal | undefined) =>
  useQuery({
    queryKey: ["checks", p?.id],
    enabled: Boolean(p),
    queryFn: () => N.get("/proposals/{id}/checks", { id: p?.id ?? "" }),
    refetchInterval: 3_000,
  });

/** The signed record of a proposal with the decisions about it. */
export const useRecord = (id: string | undefined) =>
  useQuery({
    ...read("record", "/proposals/{id}/record", 3_000, { id: id ?? "" }),
    enabled: Boolean(id),
  });

/** The names of all devices and operators that are known here, by their ids. */
export function useWho(): ReadonlyMap<string, string> {
  const nodes = useTopology().data?.nodes;
  const trusted = useTrust().data;
  const operators = useOperators().data;
  // A person who is enrolled at the executor alone is known here by the session.
  const me = useSession().data?.decision.operator;
  return useMemo(() => {
    const who = new Map<string, string>();
    for (const d of [...(trusted ?? []), ...(nodes ?? [])]) if (d.name) who.set(d.deviceId, d.name);
    for (const o of operators ?? []) who.set(o.operatorId, o.name);
    if (me) who.set(me.operatorId, me.name);
    return who;
  }, [nodes, trusted, operators, me]);
}
