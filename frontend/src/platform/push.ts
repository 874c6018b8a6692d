/** Push in this browser: whether it can be had, its subscription, its end. */
import type { components } from "@/contract/operator.gen";

export type Subscribe = components["schemas"]["PushSubscribe"];
/** Why this browser cannot hear by push; each is a word of the languages. */
export type PushTrouble = "pushNoTls" | "pushIos" | "pushNotHere" | "pushDenied";

const isIos = (): boolean =>
  /iPad|iPhone|iPod/.test(navigator.userAgent) ||
  // An iPad says that it is a Mac, and has a touch screen.
  (/Macintosh/.test(navigator.userAgent) && navigator.maxTouchPoints > 1);
const isInstalled = (): boolean =>
  matchMedia("(display-mode: standalone)").matches ||
  (navigator as { standalone?: boolean }).standalone === true;

export function trouble(): PushTrouble | undefined {
  if (!window.isSecureContext) return "pushNoTls";
  if (!("serviceWorker" in navigator && "PushManager" in window && "Notification" in window))
    return isIos() && !isInstalled() ? "pushIos" : "pushNotHere";
  return Notification.permission === "denied" ? "pushDenied" : undefined;
}

/** A subscription that could not be had, by a word of the languages. */
export class PushFailed extends Error {
  constructor(readonly why: PushTrouble | "pushFailed") {
    super(why);
  }
}

const registered = async (): Promise<ServiceWorkerRegistration> => {
  await navigator.serviceWorker.register("/sw.js");
  return navigator.serviceWorker.ready;
};

function bytes(key: string): Uint8Array<ArrayBuffer> {
  const raw = atob(key.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(raw, (c) => c.charCodeAt(0));
}

/** Asks the person and subscribes; called by their press, as browsers demand. */
export async function subscribe(key: string, language: "en" | "de"): Promise<Subscribe> {
  if ((await Notification.requestPermission()) !== "granted") throw new PushFailed("pushDenied");
  const options = { userVisibleOnly: true, applicationServerKey: bytes(key) };
  const { pushManager } = await registered();
  const made = await pushManager.subscribe(options).catch(async () => {
    // One for another key, of an earlier node at this address, is in the way.
    await (await pushManager.getSubscription())?.unsubscribe();
    return pushManager.subscribe(options);
  });
  const { endpoint, keys } = made.toJSON();
  if (!endpoint || !keys?.p256dh || !keys.auth) throw new PushFailed("pushFailed");
  return { endpoint, p256dh: keys.p256dh, auth: keys.auth, language };
}

/** Whether this browser has a subscription; where it cannot say so, it has none. */
export const isSubscribed = async (): Promise<boolean> => {
  if (trouble()) return false;
  const registration = await navigator.serviceWorker.getRegistration("/");
  return Boolean(await registration?.pushManager.getSubscription());
};

export async function unsubscribe(): Promise<void> {
  const registration = await navigator.serviceWorker?.getRegistration("/");
  await (await registration?.pushManager.getSubscription())?.unsubscribe();
}
