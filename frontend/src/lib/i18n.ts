/** Every sentence of the console, in one table. A language is one more table with the same keys. */
const en = {
  overview: "Overview", topology: "Topology", telemetry: "Telemetry", command: "Command", approvals: "Approvals",
  world: "World", trust: "Trust", audit: "Audit", settings: "Settings", more: "More",
  nav: "Pages", skip: "Skip to the page", search: "Search", searchHint: "Page, node, proposal, metric…", noHit: "Nothing matches.",
  nodes: "nodes", node: "Node", nodesTitle: "Nodes", waiting: "waiting", demo: "demo", demoHint: "Everything shown is a demonstration",
  theme: "Theme", system: "System", light: "Light", dark: "Dark",
  loading: "Reading from the node…", retry: "Try again",
  notOpen: "This console is not open", notOpenText: "Your browser has no session with this node, or it has ended. On the machine where the node runs, make a new link:",
  lostNever: "Not connected to the node. Check that it runs; this page tries again by itself.",
  lost: "Not connected to the node since {time}; what you see is from then ({age} ago).",
  problemLine: "The node reports: {text}",
  stop: "STOP", stopHint: "Emergency stop: every executor that can be reached goes to its safe states and latches",
  stopped: "STOPPED", stopResult: "Emergency stop", stopAsking: "Stopping every executor that can be reached…",
  stopComplete: "Every executor that answered is in its safe state.", stopIncomplete: "Not every executor is known to be safe. Look at the list and act on site.",
  stopFailed: "The stop did not reach the node: {text}",
  latchedBy: "Emergency stop latched at this node by {by}, {when}: {reason}",
  latchedAt: "Emergency stop latched at: {names}. Release is done at that node.",
  release: "Release…", releaseTitle: "Release the emergency stop at this node", releaseText: "Actions become possible again at this node only. Other nodes are released at those nodes. Nothing starts by itself.", reason: "Reason", reasonNeeded: "A reason is needed.",
  latched: "latched", notLatched: "not latched", safe: "safe", notSafe: "NOT SAFE", noActuators: "no actuators",
  cancel: "Cancel", close: "Close", confirm: "Confirm", copy: "Copy", copied: "Copied", copyLink: "Copy link",
  needsYou: "Needs you", nothingWaits: "Nothing waits for you.", changed: "What changed in the last hour", nothingChanged: "Nothing changed in the last hour.",
  alerts: "Alerts", noAlerts: "No alerts.", readings: "Readings", links: "links", load: "Load", state: "State", age: "Age", role: "Role", name: "Name",
  healthy: "healthy", degraded: "degraded", needs: "needs you", stoppedState: "stopped", offline: "offline", unknown: "unknown",
  graph: "Graph", list: "List", filter: "Filter", capabilities: "Capabilities", noCapabilities: "Offers nothing.",
  version: "Version", startedAt: "Started", reported: "Last report", trusted: "Trusted", grants: "Grants", posture: "Protection", latency: "Latency", skew: "Clock skew", traffic: "Received", label: "Label", yes: "yes", no: "no", self: "this node", notKnown: "not known",
  selectNode: "Select a node or a link in the graph to see what is known about it.", noLinks: "No links are known.", link: "Link", between: "Between", truncatedNode: "Its report was cut: it has more links than a report holds.", reports: "What its sensors say", noReports: "Nothing from this node yet.",
  actuatorsNote: "State and last error of each actuator are not in the API yet; the last outcome of each action is under Approvals.",
  range: "Range", follow: "Follow", following: "Following", metrics: "Metrics", pickMetric: "Choose one or more metrics.", noMetrics: "No metric has been reported yet.", noSeries: "No readings in this range.", exportCsv: "CSV", exportJson: "JSON", truncatedSeries: "Older readings than these were not read: the range holds more than the node gives at once.", chartOf: "Chart of {metric}: {count} readings, newest {value}", actuations: "Vertical marks: actions began", samples: "{n} readings",
  frames: "Frames", facts: "Facts", storeSize: "Store size is not in the API yet.", framesRate: "Frames per second", plannerState: "Planner", plannerNone: "No model; the rules planner runs inside the node.",
  inbox: "Waiting", decided: "Decided", nothingDecided: "Nothing has been decided yet.", noProposal: "Select a proposal.", emptyInbox: "Nothing waits for a decision. When a rule or a person asks for an action, it appears here.",
  whatMoves: "What will move", why: "Why", ruleAsks: "Rule that asks", interlocks: "Interlocks now", whoAgrees: "Who must agree", lastTime: "What happened last time", decide: "Decide",
  on: "on", afterwards: "It ends with “{safe}” after {span} whatever happens.", exact: "Exact action", evidence: "Evidence", noEvidence: "It cites no evidence.", askedBy: "Asked by {name} ({kind}), {when}", tainted: "a model had a part in it",
  rule: "Rule {rule}, level {level}", interlocksRemote: "The executor is another node: it checks its interlocks itself before and while acting. Their state there is not in the API yet.", interlocksOver: "It is decided; nothing is checked any more.", agree1: "One operator of level {level} or above", agreeN: "{n} different operators of level {level} or above", decisionsSoFar: "{n} decision(s) known here", neverBefore: "This action was not done before.", lastOutcome: "{status}, {when}: {detail}",
  approve: "Approve", reject: "Reject", holdApprove: "Hold to approve", holding: "Keep holding…", typeTarget: "Type {target} to approve", reasonOptional: "Reason (goes on record)", passphrase: "Passphrase of {name}'s key at this node", passphraseNeeded: "Enter the passphrase first.", sending: "The node signs and sends…", cannotDecide: "You cannot decide from here.", needOperate: "This session may only read. Ask for a link with the scope “operate”.",
  expiresIn: "expires in", expired: "expired", decidedElsewhere: "Decided while you looked: it is now {status}.", nowStands: "The executor says: {status}. {detail}", offlineNoDecide: "Not connected: nothing can be decided now.", digest: "Digest", outcome: "Outcome", trace: "Trace", openTrace: "Trace from reading to outcome", stopAction: "Stop this action", withdraw: "Withdraw",
  st_awaiting_approval: "waiting", st_approved: "approved", st_executing: "running", st_completed: "completed", st_failed: "failed", st_unknown: "outcome unknown", st_rejected: "rejected", st_expired: "expired", st_superseded: "superseded", st_withdrawn: "withdrawn",
  latest: "Latest values", frameLog: "Frame log", traces: "Traces", metric: "Metric", zone: "Zone", value: "Value", origin: "Origin", tier: "Tier", verification: "Verification", kind: "Kind", time: "Time", content: "Content", anyKind: "any kind", anyOrigin: "any origin", noFacts: "No reading has come yet. Connect a field node or start a sensor.", noFrames: "No frame matches.", older: "Older", newest: "Newest", frame: "Frame", received: "Received", hash: "Content hash", full: "Frame as it came", frameGone: "This frame is not among the newest here; the API has no way yet to read one frame by its id.", ahead: "Its time lay too far ahead to be believed.",
  verified: "signed by its origin, verified", firsthand: "first-hand link only", unverifiable: "cannot be verified", demoted: "demoted from {tier}", sensed: "sensed {when}", from: "from {origin}",
  t0: "T0 inference", devices: "Devices", operators: "Operators", added: "Added", revoked: "revoked", revoke: "Revoke…", revokeTitle: "Revoke {name}", revokeText: "Its link is closed and nothing it says is taken any more. To trust it again it must be added anew.", revokeOpText: "Their signature stops counting at this node at once.", noDevices: "No device is trusted yet. On this node's machine run: clawmesh-node trust add", noOperators: "No operator is known here. On this node's machine run: clawmesh-node operator enroll", needAdmin: "Changing trust needs a session with the scope “admin”.", key: "Key", keyUnpinned: "not known yet", maxLevel: "May approve up to", until: "until", connected: "connected", pairing: "Pairing from the browser is not in the API yet; pair on the command line.",
  g_observe: "its readings count as evidence up to this tier", g_relay: "it may pass on frames of others", g_read: "it may read what this node knows", g_draft: "it may ask for actions", g_propose: "it may ask for actions", g_estop: "it may stop this node in an emergency", g_approve: "it may carry decisions of people", g_decide: "it may carry decisions of people", g_act: "it may act", g_invoke: "it may call this node's methods", g_other: "see the manual",
  verify: "Verify chain", verifyOk: "Every entry is in place, unaltered and signed: {n} entries.", verifyBad: "The chain does not hold: {n} fault(s).", noAudit: "The audit trail is empty.", subject: "Subject", detail: "Detail", entries: "entries", loadMore: "Show more", seq: "No.",
  identity: "Identity", discovery: "Discovery", peers: "Peers", policy: "Policy", appearance: "Appearance", session: "Session", deviceId: "Device id", mesh: "Mesh", port: "Port", uptime: "Up for", clock: "Clock", clockGood: "believed", clockBad: "not believed: ages may be wrong", noPeers: "No peer is known.", address: "Address", policyNone: "No rule: everything is denied at this node's executor.", policyTests: "The results of the policy's own tests are not in the API yet; run: clawmesh-node policy test", reload: "Reload policy", operations: "Operations", level: "Level", quorum: "Quorum", longest: "Longest", safeState: "Ends with", conditions: "Conditions", minTier: "Weakest tier", discoveryNote: "Whether discovery runs and what it sees is not in the API yet; run: clawmesh-node meshes", credentialsNote: "Credentials cannot be set here yet: the API has no write-only store.", credentials: "Credentials", scope: "Scope", endSession: "End this session", ended: "The session has ended. You can close this page.", digestOf: "Digest", clearCache: "", density: "", rules: "rules",
  ask: "Ask about the mesh", askPlaceholder: "What waits? What is the moisture? Which nodes are offline? /help", send: "Send", noModel: "No model is connected: status questions are answered from what the node knows; instructions in free words are not understood.", cited: "Cited", noCited: "What an answer rests on appears here.", you: "You", consoleName: "Console",
  help: "I can answer: /status, /waiting, /nodes, /alerts, /world [metric], or the name of a metric. To ask for an action: /do <actuator> <operation> [name=value …] because <reason>.",
  cannot: "I cannot answer that without a model. I can tell the status, what waits, nodes, alerts and the latest value of a metric. Type /help.",
  draftSent: "Asked for: {target} {operation}. It is now “{status}”.", draftBad: "Write: /do <actuator> <operation> [name=value …] because <reason>", notFound: "There is no such page.", home: "Back to the overview", failedRead: "This could not be read: {text}", showAll: "Show all", showLess: "Show less", open: "Open", details: "Details", all: "All", none: "none", of: "of", page: "Page",
} as const;

export type Key = keyof typeof en;
const tables: Record<string, Record<Key, string>> = { en };
let table: Record<Key, string> = en;

/** "C" and other odd values of a bare system are no language; uPlot's number formats would throw on them. */
export function setLanguage(wanted: string): string {
  let tag = "en";
  try {
    tag = Intl.getCanonicalLocales(wanted)[0] ?? "en";
  } catch {
    tag = "en";
  }
  table = tables[tag.split("-")[0] ?? "en"] ?? en;
  try {
    new Intl.NumberFormat(navigator.language);
  } catch {
    Object.defineProperty(navigator, "language", { value: "en", configurable: true });
  }
  return table === en ? "en" : tag;
}

export function t(key: Key, vars?: Record<string, string | number>): string {
  const text = table[key];
  return vars ? text.replace(/\{(\w+)\}/g, (whole, name: string) => String(vars[name] ?? whole)) : text;
}

export const statusWord = (status: string): string => {
  const key = `st_${status}`;
  return key in en ? table[key as Key] : status;
};
