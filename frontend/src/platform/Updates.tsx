/** Newer versions of the desktop application: offered, and installed by a press. */
import { useState } from "react";
import { t } from "@/lib/i18n";
import { Button } from "@/ui/kit";
import { takeUpdate, type Update } from "./desktop";

export function Updates({ update }: { update: Update }) {
  const [problem, setProblem] = useState("");
  const take = (step: Parameters<typeof takeUpdate>[0]) => {
    setProblem("");
    takeUpdate(step).catch((e: unknown) => setProblem(e instanceof Error ? e.message : String(e)));
  };
  const failed = update.is === "failed" ? update.why : problem;
  return (
    <section className="flex flex-col gap-2 border-line border-t pt-2" aria-label={t("updates")}>
      <p>{t("updateHere", { here: update.here })}</p>
      <p role="status">{said(update)}</p>
      {update.is === "ready" && update.command ? (
        <code className="wrap-anywhere select-all rounded-md bg-s2 p-2 font-mono text-[12.5px]">
          {update.command}
        </code>
      ) : null}
      {failed ? (
        <p role="alert" className="text-danger">
          ▲ <bdi className="wrap-anywhere">{failed}</bdi>
        </p>
      ) : null}
      <div className="flex flex-wrap gap-2">
        {update.is === "offered" && update.by !== "source" ? (
          <Button tone="accent" onClick={() => take({ step: "install", version: update.version })}>
            {update.by === "us"
              ? t("updateInstall", { version: update.version })
              : t("updateBring", { version: update.version })}
          </Button>
        ) : null}
        {update.is === "ready" && (update.by === "us" || update.by === "installer") ? (
          <Button tone="accent" onClick={() => take({ step: "restart" })}>
            {update.by === "us" ? t("updateRestart") : t("updateInstaller")}
          </Button>
        ) : null}
        {update.is === "bringing" || update.is === "ready" ? null : (
          <Button disabled={update.is === "looking"} onClick={() => take({ step: "look" })}>
            {t("updateLook")}
          </Button>
        )}
      </div>
      <p className="wrap-anywhere text-t2">{t("updateFrom", { from: update.from })}</p>
    </section>
  );
}

function said(update: Update): string {
  switch (update.is) {
    case "unasked":
      return t("updateUnasked");
    case "looking":
      return t("updateLooking");
    case "newest":
      return t("updateNewest");
    case "offered":
      return update.by === "source"
        ? t("updateSource", { version: update.version })
        : t("updateOffered", { version: update.version });
    case "bringing":
      return t("updateBringing", { version: update.version, megabytes: update.megabytes });
    case "ready":
      return update.by === "us"
        ? t("updateReady", { version: update.version })
        : update.by === "command"
          ? t("updateByCommand", { version: update.version })
          : t("updateBySystem", { version: update.version });
    case "failed":
      return t("updateFailed");
  }
}
