/** The one door to the node. Nothing above this file knows how requests travel. */
import type { components, paths } from "@/contract/operator.gen";
import { refusal, t } from "@/lib/i18n";
import { type Answer, carry, carryLines, inWindow } from "@/platform/desktop";

type S = components["schemas"];
export type Status = S["StatusView"];
export type Proposal = S["ProposalView"];
export type Fact = S["FactView"];
export type Frame = S["FrameView"];
export type NodeEvent = S["EventView"];
export type Peer = S["PeerView"];
export type Topology = S["TopologyView"];
export type Trace = S["TraceView"];
export type Session = S["SessionView"];
export type OpenSession = S["OpenSession"];
export type Series = S["SeriesView"];
export type Trust = S["TrustRecordView"];
export type Share = S["ShareView"];
export type Operator = S["OperatorView"];
export type Issuer = S["IssuerView"];
export type GrantTable = S["GrantTableView"];
export type Offering = S["NodeView"];
export type Alarm = S["AlarmView"];
/** Something people should know of, with what they have answered. */
export type Alert = S["AlertView"];
export type ProposalRecord = S["ProposalRecordView"];
export type KeyWaiting = S["EnrolRequestView"];
export type Policy = S["PolicyView"];
export type Checks = S["ChecksView"];
export type Audit = S["AuditView"];
export type AuditReport = S["AuditReport"];
export type Estop = S["EstopView"];
export type EstopReport = S["EstopReport"];
export type Standing = S["Standing"];
export type Draft = S["DraftView"];
export type Names = S["NamesView"];
export type Actuator = S["ActuatorView"];
export type Twin = S["TwinView"];
export type PolicyTest = S["TestResult"];
export type Planner = S["PlannerView"];
export type Mesh = S["MeshView"];
export type Pairing = S["PairingView"];
export type Telling = S["Telling"];
export type Answered = S["Answered"];
export type Models = S["ModelsView"];
export type Model = S["ModelState"];
export type Way = S["RouteView"];
export type Route = S["Route"];
export type Tried = S["Tried"];
export type Credential = S["CredentialView"];
/** A program that speaks MCP with this node. */
export type Program = S["McpClientView"];
/** An OpenClaw gateway of this node. */
export type Gateway = S["GatewayView"];
/** A message to an agent, and what came of it. */
export type Message = S["MessageView"];
export type MessageState = S["MessageState"];
/** A node that messages may go to. */
export type Able = S["AbleView"];
/** The rules by which messages find a node. */
export type Rules = S["RulesView"];
/** Where a message would go, and why. */
export type Routed = S["RoutedView"];
export type Approvals = S["ApprovalsView"];
/** A standing approval as its executor knows it. */
export type Given = S["ApprovalView"];
/** An action that can be approved ahead of time. */
export type Offer = S["StandingOffer"];
export type Device = S["DeviceView"];
/** What became of a configuration that was read again. */
export type Reloaded = S["Reloaded"];

export const ROOT = "/api/operator/v1";
const TIMEOUT_MS = 20_000;

/** A refusal of the node, or the lack of an answer (status 0). */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

let csrf: string | null = null;
export const setCsrf = (token: string | null | undefined): void => {
  csrf = token ?? null;
};

/** By HTTP, from a browser. */
async function fetched(
  method: string,
  path: string,
  headers: Record<string, string>,
  body: string | undefined,
  timeoutMs: number,
): Promise<Answer> {
  const signal = AbortSignal.timeout(timeoutMs);
  const response = await fetch(path, { method, headers, body, credentials: "same-origin", signal });
  return { status: response.status, text: await response.text() };
}

async function call<T>(
  method: "GET" | "POST" | "DELETE",
  path: string,
  body?: unknown,
  timeoutMs = TIMEOUT_MS,
): Promise<T> {
  const headers: Record<string, string> = { accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (method !== "GET" && csrf) headers["x-clawmesh-csrf"] = csrf;
  const sent = body === undefined ? undefined : JSON.stringify(body);
  let answer: Answer;
  try {
    answer = await (inWindow ? carry : fetched)(method, ROOT + path, headers, sent, timeoutMs);
  } catch {
    throw new Refused(0, "unreachable", t("unreachableNode"));
  }
  const { status, text } = answer;
  const good = status >= 200 && status < 300;
  let parsed: unknown;
  try {
    parsed = text ? JSON.parse(text) : undefined;
  } catch {
    throw new Refused(good ? 0 : status, "unreachable", t("unreadableNode"));
  }
  if (good) return parsed as T;
  const error = (parsed as { error?: { code?: string; message?: string } } | undefined)?.error;
  throw new Refused(
    status >= 502 ? 0 : status,
    error?.code ?? String(status),
    error?.message ? refusal(error.code ?? "", error.message) : t("refusedNode", { status: String(status) }),
  );
}

type Method = "get" | "post" | "delete";
/** The paths of the contract that a method may ask, below the root. */
export type Path<M extends Method> = {
  [K in keyof paths]: paths[K] extends Record<M, object>
    ? K extends `${typeof ROOT}${infer P}`
      ? P
      : never
    : never;
}[keyof paths];
type Operation<M extends Method, P extends string> = `${typeof ROOT}${P}` extends infer K extends keyof paths
  ? paths[K][M]
  : never;
/** What a route answers. */
export type Told<M extends Method, P extends string> =
  Operation<M, P> extends {
    responses: { 200: { content: { "application/json": infer A } } };
  }
    ? A
    : never;
/** What a route is sent. */
export type Sent<P extends string> =
  Operation<"post", P> extends {
    requestBody?: { content: { "application/json": infer B } };
  }
    ? B
    : undefined;
export type Query<P extends string> =
  Operation<"get", P> extends { parameters: { query?: infer Q } } ? Q : never;
/** What fills a path, and what else may be asked there. */
type Filled<P extends string> = P extends `${string}{id}${string}` ? { id: string } : { id?: undefined };
export type Asked<P extends string> = Filled<P> & { query?: Query<P>; timeoutMs?: number };
export type Maybe<T> = Record<string, never> extends T ? [asked?: T] : [asked: T];

const filled = (path: string, id: string | undefined): string =>
  path.replace("{id}", encodeURIComponent(id ?? ""));

/** A path with its id and query filled in. */
export function pathOf<P extends Path<"get">>(
  path: P,
  asked: { id?: string; query?: Query<P> } = {},
): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(asked.query ?? {}))
    if (v !== undefined && v !== "") q.set(k, String(v));
  const text = q.toString();
  return filled(path, asked.id) + (text ? `?${text}` : "");
}

export const get = <P extends Path<"get">>(path: P, ...[asked]: Maybe<Asked<P>>): Promise<Told<"get", P>> =>
  call("GET", pathOf(path, asked), undefined, asked?.timeoutMs);

export const post = <P extends Path<"post">>(
  path: P,
  body?: Sent<P>,
  ...[asked]: Maybe<Filled<P>>
): Promise<Told<"post", P>> => call("POST", filled(path, asked?.id), body);

export const remove = <P extends Path<"delete">>(
  path: P,
  ...[asked]: Maybe<Filled<P>>
): Promise<Told<"delete", P>> => call("DELETE", filled(path, asked?.id));

/** A reply that is no JSON document: the audit chain as lines. */
export async function readText(path: string): Promise<string> {
  let answer: Answer;
  try {
    answer = await (inWindow ? carry : fetched)("GET", ROOT + path, {}, undefined, TIMEOUT_MS);
  } catch {
    throw new Refused(0, "unreachable", t("unreachableNode"));
  }
  const { status, text } = answer;
  if (status < 200 || status >= 300)
    throw new Refused(status, String(status), t("refusedNode", { status: String(status) }));
  return text;
}

/** A question may wait behind others, and a small model is slow. */
const QUESTION_MS = 330_000;

/** The lines of a text that are whole, and what follows them. */
function whole<T>(text: string): [T[], string] {
  const lines = text.split("\n");
  const rest = lines.pop() ?? "";
  return [lines.filter((l) => l.trim()).map((l) => JSON.parse(l) as T), rest];
}

function refuse(status: number, text: string): never {
  let error: { code?: string; message?: string } | undefined;
  try {
    error = (JSON.parse(text) as { error?: typeof error }).error;
  } catch {
    // What is no JSON says nothing.
  }
  throw new Refused(
    status,
    error?.code ?? String(status),
    error?.message ? refusal(error.code ?? "", error.message) : t("refusedNode", { status: String(status) }),
  );
}

/** What a route tells line by line, as it comes. Ending the signal ends it at the node too. */
async function told<T>(
  path: string,
  asked: unknown,
  on: (told: T) => void,
  signal: AbortSignal,
): Promise<void> {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (csrf) headers["x-clawmesh-csrf"] = csrf;
  const body = JSON.stringify(asked);
  const lost = (): never => {
    throw new Refused(0, "unreachable", t("unreachableNode"));
  };
  const limit = AbortSignal.any([signal, AbortSignal.timeout(QUESTION_MS)]);
  let rest = "";
  const take = (more: string) => {
    const [lines, after] = whole<T>(rest + more);
    rest = after;
    for (const one of lines) on(one);
  };
  if (inWindow) {
    const { status, text } = await carryLines(ROOT + path, body, take, limit).catch(lost);
    if (status !== 200) refuse(status, text);
    return;
  }
  const response = await fetch(ROOT + path, {
    method: "POST",
    headers,
    body,
    credentials: "same-origin",
    signal: limit,
  }).catch(lost);
  if (!response.ok || !response.body) refuse(response.status, await response.text());
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read().catch(lost);
    if (done) return;
    take(decoder.decode(value, { stream: true }));
  }
}

/** Asks the planner of the node. What it does is told as it comes, its answer last; ending the signal takes the
 * question back. */
export const ask = (
  asked: Sent<"/planner/ask">,
  on: (told: Telling) => void,
  signal: AbortSignal,
): Promise<void> => told("/planner/ask", asked, on, signal);

/** Tries the models with a short text. */
export const tryModels = (
  asked: Sent<"/models/try">,
  on: (told: Tried) => void,
  signal: AbortSignal,
): Promise<void> => told("/models/try", asked, on, signal);
