/** Every read of the node as a hook. Live ones are patched by the stream; the rest poll gently. */
import { QueryClient, useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { heardTime, nodeNow } from "@/lib/clock";
import { inWindow } from "@/platform/desktop";
import { load as loadKey } from "@/platform/key";
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

function read<T>(key: string, path: string, every?: number) {
  return { queryKey: [key, path], queryFn: () => N.call<T>("GET", path), refetchInterval: every };
}

export const useSession = () =>
  useQuery({
    queryKey: ["session"],
    queryFn: async () => {
      const session = await N.call<N.Session>("GET", "/session");
      N.setCsrf(session.csrf);
      return session;
    },
    refetchInterval: 60_000,
  });
export const useStatus = () => useQuery(read<N.Status>("status", "/status", 5_000));
export const useEstop = () => useQuery(read<N.Estop>("estop", "/estop", 5_000));
export const useTopology = () =>
  useQuery({
    queryKey: ["topology"],
    queryFn: async () => {
      const asked = performance.now();
      const top = await N.call<N.Topology>("GET", "/topology");
      heardTime(top.at, performance.now() - asked);
      return top;
    },
    refetchInterval: 3_000,
  });
export const usePeers = () => useQuery(read<N.Peer[]>("peers", "/peers", 5_000));
export const useWorld = () => useQuery(read<N.Fact[]>("world", "/world", 2_000));
export const useEvents = () =>
  useQuery({
    queryKey: ["events"],
    queryFn: () => N.call<N.NodeEvent[]>("GET", "/events?limit=200"),
    staleTime: 30_000,
  });
export const useProposals = () =>
  useQuery({
    queryKey: ["proposals"],
    queryFn: async () => {
      // What the stream brings while this read is under way may be newer than what is read.
      const meanwhile = hearing();
      try {
        const list = await N.call<N.Proposal[]>("GET", "/proposals?all=true");
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
    ...read<N.Trace>("trace", `/proposals/${encodeURIComponent(id ?? "")}/trace`, every),
    enabled: Boolean(id),
  });
export const useFrames = (asked: Parameters<typeof N.query>[0], every: number | undefined) =>
  useQuery(read<N.Frame[]>("frames", `/frames${N.query(asked)}`, every));
export const SERIES_POINTS = 600;
/** A metric over a span. Without an end it follows: each read asks for the span up to now. */
export const seriesPath = (metric: string, range: number, to: number | undefined, points: number): string => {
  const end = to ?? Math.round(nodeNow());
  return `/series${N.query({ metric, points, from: end - range, to })}`;
};
export const useSeries = (metric: string, range: number, to: number | undefined) =>
  useQuery({
    queryKey: ["series", metric, range, to ?? "now"],
    queryFn: () => N.call<N.Series>("GET", seriesPath(metric, range, to, SERIES_POINTS)),
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
      const asked = { metric, origin, zone: zone ?? undefined, points: 48, from: to - SPARK_MS };
      const s = await N.call<N.Series>("GET", `/series${N.query(asked)}`);
      return { points: s.lines[0]?.points ?? [], from: to - SPARK_MS, to };
    },
    refetchInterval: 15_000,
  });
export const useNames = () => useQuery(read<N.Names>("names", "/names"));
export const useActuators = () => useQuery(read<N.Actuator[]>("actuators", "/actuators", 3_000));
export const useTwin = () => useQuery(read<N.Twin>("twin", "/twin", 5_000));
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
  useQuery({ ...read<N.Frame>("frame", `/frames/${encodeURIComponent(id ?? "")}`), enabled: Boolean(id) });
export const usePolicyTests = () => useQuery(read<N.PolicyTest[]>("policyTests", "/policy/tests"));
export const useMeshes = () => useQuery(read<N.Mesh[]>("meshes", "/meshes", 5_000));
export const usePairing = (every: number) => useQuery(read<N.Pairing>("pairing", "/pairing", every));
export const useTrust = (every?: number) => useQuery(read<N.Trust[]>("trust", "/trust", every));
/** What presets and grants can do at worst; it changes with the program alone. */
export const useGrantTable = () =>
  useQuery({ ...read<N.GrantTable>("grants", "/grants"), staleTime: Number.POSITIVE_INFINITY });
/** What each device offers, and what of it does not count. */
export const useOfferings = () => useQuery(read<N.Offering[]>("nodes", "/nodes", 5_000));
export const useOperators = () => useQuery(read<N.Operator[]>("operators", "/operators"));
export const useIssuers = () => useQuery(read<N.Issuer[]>("issuers", "/operators/issuers", 10_000));
export const useKeysWaiting = (on: boolean) =>
  useQuery({ ...read<N.KeyWaiting[]>("keysWaiting", "/operators/requests", 3_000), enabled: on });
/** The key that was made in this browser, if one was; the window has the system's keychain instead. */
export const useOwnKey = () =>
  useQuery({
    queryKey: ["ownKey"],
    enabled: !inWindow,
    queryFn: () => loadKey().catch(() => null),
    staleTime: Number.POSITIVE_INFINITY,
  });
export const usePolicy = () => useQuery(read<N.Policy>("policy", "/policy"));
export const useAudit = (since: number | undefined, limit: number) =>
  useQuery(
    read<N.Audit[]>("audit", `/audit${N.query({ since, limit })}`, since === undefined ? 10_000 : undefined),
  );
export const useChecks = (p: N.Proposal | undefined) =>
  useQuery({
    queryKey: ["checks", p?.id],
    enabled: Boolean(p),
    queryFn: () => N.call<N.Checks>("GET", `/proposals/${encodeURIComponent(p?.id ?? "")}/checks`),
    refetchInterval: 3_000,
  });

/** The signed record of a proposal with the decisions about it. */
export const useRecord = (id: string | undefined) =>
  useQuery({
    ...read<N.ProposalRecord>("record", `/proposals/${encodeURIComponent(id ?? "")}/record`, 3_000),
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
